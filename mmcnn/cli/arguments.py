"""Arguments that several tools take, and what is refused of them before a config is read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from mmcnn.errors import UsageError
from mmcnn.runs.configs import BACKBONE


class _Options(DictAction):
    """MMEngine's parser of KEY=VALUE, which dies on an argument that is none."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        for value in values:
            if '=' not in value:
                raise argparse.ArgumentError(self, f"'{value}' is not KEY=VALUE")
        super().__call__(parser, namespace, values, option_string)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that train.py and test.py share."""
    add_data_arguments(parser)
    add_backbone_argument(parser)
    add_model_arguments(parser)
    parser.add_argument('--work-dir', metavar='D', help='folder of logs and results (default: work_dirs/CONFIG)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes this; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every tool that reads a data set in batches."""
    parser.add_argument(
        '--data',
        metavar='demo|PATH',
        help='a folder with train.json, val.json (COCO format) and images/, or as COCO 2017, YOLO or VOC have it; '
        'for a classifier with train/CLASS/ and val/CLASS/; or demo: a small set that is drawn here',
    )
    parser.add_argument(
        '--skip-bad', action='store_true', help='leave out what the check of --data PATH finds at fault'
    )
    parser.add_argument('--img-size', type=int, metavar='N', help='side of the network input, pixels')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images a GPU (or the CPU) takes at once')
    parser.add_argument('--workers', type=int, metavar='N', help='data-loading processes of each GPU')


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every tool that builds a model, but for ``--backbone``."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=_Options, default={}, metavar='KEY=VALUE', help='override any config entry'
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N (default: a GPU where there is one)')


def add_backbone_argument(parser: argparse.ArgumentParser) -> None:
    """The option of tools that build one model."""
    parser.add_argument('--backbone', metavar='NAME', help='another backbone, see tools/model_zoo.py')


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """``--cfg-options``, with ``--backbone`` as one of them.

    Raises:
        UsageError: both say which backbone, and not the same.
    """
    if args.backbone is None:
        return args.cfg_options
    kind = 'mmcnn.' + args.backbone.removeprefix('mmcnn.')
    if args.cfg_options.get(BACKBONE, kind) != kind:
        raise UsageError(f'--backbone {args.backbone} and --cfg-options {BACKBONE}={args.cfg_options[BACKBONE]}')
    return {BACKBONE: kind, **args.cfg_options}


def at_least(minimum: int, args: argparse.Namespace, *names: str) -> None:
    """Refuses options that are given and smaller than a minimum.

    Raises:
        UsageError: names the option.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value < minimum:
            raise UsageError(f'--{name.replace("_", "-")} {value}: it has to be at least {minimum}')
