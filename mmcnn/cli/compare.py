"""Trains several backbones in one detector at the same budget, and compares them.

Each is trained by mmcnn train in a process of its own, in DIR/BACKBONE/seed_S/. Leaves comparison.md, comparison.json
and comparison.png (AP against latency) in DIR. Finished runs are not trained again and interrupted ones are continued.
The exit code is 1 if a run failed.

  mmcnn compare yolov4_cspdarknet53_narrow --data PATH --epochs 30 --backbone mobilenetv2 --backbone vovnet39 --seeds 3
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_config, add_options, options_from
from mmcnn.compare.options import CompareOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn compare``."""
    add_config(parser)
    parser.add_argument(
        '--backbone', dest='backbones', action='append', required=True, metavar='NAME',
        help='a backbone to compare; give the option once for each, or several with commas',
    )  # fmt: skip
    add_options(parser, CompareOptions, leave_out=('backbone',))


def run(args: argparse.Namespace) -> int:
    """Compares; 1 if a run failed."""
    names = [name for text in args.backbones for name in text.split(',') if name]
    options = options_from(args, CompareOptions, config=args.config, backbones=names)

    from mmcnn.compare import trainings
    from mmcnn.compare.api import plan

    plan_ = plan(options)
    with trainings.locked(plan_.work_dir):
        for each in plan_.runs:
            each.refuse_others()
        trainings.train_all(plan_.runs, options.jobs)
    return 0
