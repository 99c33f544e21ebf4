"""What the tools share: configs found by name, batches set, models checked, clear errors instead of tracebacks."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from torch import nn

from mmcnn.datasets.class_folder import IMAGE_SUFFIXES
from mmcnn.datasets.coco_folder import DataError
from mmcnn.registry import nearest
from mmcnn.training_error import TrainingError
from mmcnn.weights.addresses import is_address, resolve
from mmcnn.weights.checkpoint import CheckpointError, read_checkpoint
from mmcnn.weights.whole_file import last_checkpoint, read_resumable

PACKAGE = Path(__file__).resolve().parent
_BACKBONE = 'model.backbone.type'
#: A run of fewer optimizer steps than this does not accumulate micro-batches to the nominal batch.
MIN_STEPS = 1000


class UsageError(ValueError):
    """Something that the user typed does not fit; the message is the whole story."""


@contextlib.contextmanager
def friendly_errors() -> Iterator[None]:
    """Ends a tool with one clear message and exit code 1 where the user's input is at fault, or with 130 after Ctrl-C.

    ``MMCNN_TRACEBACK=1`` shows the traceback instead. A fault of the program itself always does.
    """
    try:
        yield
    except (UsageError, DataError, CheckpointError, TrainingError) as error:
        if os.environ.get('MMCNN_TRACEBACK') == '1':
            raise
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        if os.environ.get('MMCNN_TRACEBACK') == '1':
            raise
        sys.exit(128 + signal.SIGINT)


# ------------------------------------------------------------------------------------------------------- arguments


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
    if args.cfg_options.get(_BACKBONE, kind) != kind:
        raise UsageError(f'--backbone {args.backbone} and --cfg-options {_BACKBONE}={args.cfg_options[_BACKBONE]}')
    return {_BACKBONE: kind, **args.cfg_options}


def at_least(minimum: int, args: argparse.Namespace, *names: str) -> None:
    """Refuses options that are given and smaller than a minimum.

    Raises:
        UsageError: names the option.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value < minimum:
            raise UsageError(f'--{name.replace("_", "-")} {value}: it has to be at least {minimum}')


def use_device(name: str | None) -> None:
    """Makes MMEngine put its models on this device; None: its own choice, a GPU where there is one.

    Raises:
        UsageError: there is no such device.
    """
    import mmengine.device.utils as device_utils
    import torch

    if name is not None:
        try:
            device = torch.device(name)
        except RuntimeError:
            device = None
        if device is None or device.type not in ('cpu', 'cuda'):
            raise UsageError(f'--device {name}: this is no device; say cpu, cuda or cuda:N')
        if device.type == 'cuda':
            count = torch.cuda.device_count()
            if (device.index or 0) >= count:
                raise UsageError(f'--device {name}: PyTorch sees {count} CUDA devices here')
            torch.cuda.set_device(device.index or 0)
        # MMEngine keeps its choice in this constant and offers no other way to run on the CPU of a GPU machine.
        device_utils.DEVICE = device.type
    if device_utils.DEVICE == 'cpu':
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tells glibc to keep the memory of freed feature maps for the next iteration.

    By default it hands every large block back to the kernel, which fills it with zeros anew, page by page: a fifth of
    a training step on the CPU (docs/benchmarks.md). Another C library has no mallopt or refuses; then nothing changes.
    """
    trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, largest)
        mallopt(mmap_threshold, largest)


# --------------------------------------------------------------------------------------------------------- configs


def config_folder() -> Path:
    """``configs/``: beside the package in a checkout, inside it after a plain install."""
    installed = PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else PACKAGE.parent / 'configs'


def load_config(name: str, options: dict[str, Any] | None = None) -> Config:
    """A config by its path or by the name of one that comes with mmcnn, with overrides.

    A config is a program: loading one runs it.

    Raises:
        UsageError: there is no such file or name (the nearest are listed), or the file cannot be read as a config.
    """
    path = Path(name)
    if not path.is_file():
        folder = config_folder()
        # "configs/yolov4.py" typed in another folder means the one that comes with mmcnn, too.
        own = {str(p.relative_to(folder).with_suffix('')): p for p in folder.rglob('*.py') if '_base_' not in p.parts}
        wanted = name.removeprefix('configs/').removesuffix('.py')
        if wanted not in own:
            raise UsageError(f"there is no config file '{name}', and none of that name comes with mmcnn; "
                             f'{nearest(wanted, own)}')  # fmt: skip
        path = own[wanted]
    try:
        cfg = Config.fromfile(path)
    except (SyntaxError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f"'{path}' is no usable config: {error}") from error
    merge_options(cfg, options)
    return cfg


def merge_options(cfg: Config, options: dict[str, Any] | None) -> None:
    """Applies ``--cfg-options``, and says which of them make a new entry inside a new one: most often that is a typo.

    Another ``model.backbone.type`` swaps the backbone (:func:`~mmcnn.models.wiring.swap_backbone`), and says what that
    changes.

    Raises:
        UsageError: an entry cannot be set, or the backbone does not go with the model.
    """
    _swap_backbone(cfg, options or {})
    for key in options or {}:
        *parents, _ = key.split('.')
        node = cfg
        for i, parent in enumerate(parents):
            if isinstance(node, dict | Config) and parent not in node:
                where = '.'.join(parents[:i]) or 'the config'
                print(
                    f"note: {where} had no '{parent}' before --cfg-options {key}; {nearest(parent, node)}", flush=True
                )
                break
            node = node[parent] if isinstance(node, dict | Config) else None
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f'--cfg-options {options} cannot be set: {error}') from error


def _swap_backbone(cfg: Config, options: dict[str, Any]) -> None:
    kind, old = options.get(_BACKBONE), cfg.get('model', {}).get('backbone', {}).get('type')
    # A backbone of MMDetection or timm has arguments of its own, which the other options set.
    if kind in (None, old) or not kind.startswith('mmcnn.') or kind == 'mmcnn.TimmBackbone':
        return
    from mmcnn.models.wiring import swap_backbone

    with _refusals():
        weights = any(key.startswith('model.backbone.init_cfg') for key in options)
        cfg.model, notes = swap_backbone(cfg.model, kind, weights)
    print(f'backbone: {kind.removeprefix("mmcnn.")} in place of {old}', flush=True)
    for note in notes:
        print(f'note: {note}', flush=True)


def wire_model(cfg: Config) -> None:
    """Fills in the model's channels and strides (``mmcnn.models.wiring.wire``), so that the dumped config shows them.

    The model is also built once on the meta device, in no time and memory, so that a wrong argument is found here.

    Raises:
        UsageError: the parts of the model do not fit, or a type or an argument does not exist.
    """
    from mmcnn.models.wiring import wire

    with _refusals():
        cfg.model = wire(cfg.model)
    # Some of MMDetection's parts compute while they are built, which the meta device cannot.
    with contextlib.suppress(RuntimeError):
        build_on_meta(cfg)


def build_on_meta(cfg: Config) -> nn.Module:
    """The model of a config without memory.

    Raises:
        UsageError: as :func:`wire_model`.
    """
    import torch
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    from mmcnn.models.wiring import wire

    with _refusals(), DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return MODELS.build(wire(cfg.model))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What the parts of a model say of their arguments, as UsageError."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(error.args[0] if error.args else str(error)) from error


def is_classifier(cfg: Config) -> bool:
    """Whether a config is that of a classifier, not of a detector."""
    from mmcnn.models import wiring

    return wiring.is_classifier(cfg.get('model', {}))


def set_batches(cfg: Config, args: argparse.Namespace, num_images: int | None) -> None:
    """Batch size, workers and accumulation.

    Recipes with a ``nominal_batch_size`` give each step so many images, on all GPUs together: fewer are accumulated,
    and so many GPUs that the config's batch would be more take less each. A run that would have fewer than
    ``MIN_STEPS`` steps accumulates less: a small data set needs the steps more than it needs the smooth gradient.
    Where a recipe has ``scale_lr=True``, its rate is for ``nominal_batch_size`` images and follows their number; where
    its losses are sums over the images of a GPU, rate, weight decay and clipping are for ``summed_batch_size`` of them.
    """
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if args.batch_size is not None:
            cfg[loader].batch_size = args.batch_size
        if args.workers is not None:
            cfg[loader].num_workers = args.workers
        # More processes than cores only wait for each other.
        cfg[loader].num_workers = min(cfg[loader].num_workers, os.cpu_count() or 1)
        cfg[loader].persistent_workers = cfg[loader].num_workers > 0
        cfg[loader].pin_memory = get_device() != 'cpu'
    world = world_size(args.launcher)
    if is_classifier(cfg) and num_images is not None:
        # BatchNorm cannot train on one value, which is what one small image leaves at stride 32.
        share, batch = -(-num_images // world), cfg.train_dataloader.batch_size
        cfg.train_dataloader.drop_last = share > batch and share % batch == 1
    nominal = cfg.get('nominal_batch_size')
    if nominal is None:
        return
    if args.batch_size is None:
        cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, max(nominal // world, 1))
    together = cfg.train_dataloader.batch_size * world
    counts = max(round(nominal / together), 1)
    if num_images is not None:
        iterations = cfg.train_cfg.max_epochs * -(-num_images // together)
        counts = max(min(counts, iterations // MIN_STEPS), 1)
    cfg.optim_wrapper.accumulative_counts = counts
    if cfg.get('scale_lr'):
        # Goyal et al., arXiv 1706.02677. The two stay true to each other, also in the config that the run records.
        cfg.optim_wrapper.optimizer.lr *= together * counts / nominal
        cfg.nominal_batch_size = together * counts
        if 'summed_batch_size' in cfg:
            # The gradients are so many times as large; decay and clipping keep their part of the step.
            larger = cfg.train_dataloader.batch_size / cfg.summed_batch_size
            cfg.optim_wrapper.optimizer.lr /= larger
            clip_grad = cfg.optim_wrapper.get('clip_grad') or {}
            for node, key in ((cfg.optim_wrapper.optimizer, 'weight_decay'), (clip_grad, 'max_norm')):
                if key in node:
                    node[key] *= larger
            cfg.summed_batch_size = cfg.train_dataloader.batch_size


def describe_batches(cfg: Config, launcher: str) -> str:
    """A line for the log: how many images an iteration and a step of the optimizer see, on all GPUs together."""
    together = cfg.train_dataloader.batch_size * world_size(launcher)
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    line = f'{together} images an iteration, {counts} iterations a step: {together * counts} images a step'
    if cfg.get('scale_lr'):
        return f'{line}, learning rate {cfg.optim_wrapper.optimizer.lr:.3g}'
    nominal = cfg.get('nominal_batch_size')
    if nominal is not None and together * counts != nominal:
        line += (
            f' (the recipe is made for {nominal}: it takes {nominal / together / counts:.2g} times as many steps here)'
        )
    return line


def set_amp(cfg: Config, amp: bool) -> None:
    """Mixed precision (MMEngine's AmpOptimWrapper, dynamic loss scale).

    Raises:
        UsageError: there is no GPU; MMEngine has mixed precision on GPUs only.
    """
    if not amp:
        return
    if get_device() == 'cpu':
        raise UsageError('--amp needs a GPU: mixed precision is not faster on a CPU, leave it out')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'


def set_on_nan(cfg: Config, on_nan: str | None) -> None:
    """What the training does with a loss or a gradient that is not finite.

    Raises:
        UsageError: the config's training loop takes no such option.
    """
    if on_nan is None:
        return
    kind = cfg.train_cfg.get('type')
    if kind != 'mmcnn.ResumableTrainLoop':
        raise UsageError(f'--on-nan {on_nan} needs train_cfg.type=mmcnn.ResumableTrainLoop, the config has {kind}')
    cfg.train_cfg.on_nan = on_nan


def config_and_checkpoint(config: str | None, path: str, options: dict[str, Any] | None) -> tuple[Config, dict]:
    """A checkpoint, and its config: the named one, else the one that the run recorded in the checkpoint.

    A file of weights of another kind (Darknet's, safetensors) has nothing to say beside them: the dict is empty.

    Raises:
        UsageError, CheckpointError: what is missing or does not fit.
    """
    from mmcnn.weights.files import format_of

    if config is not None and format_of(path) != 'pytorch':
        return load_config(config, options), {}
    checkpoint = read_checkpoint(path)
    if config is not None:
        return load_config(config, options), checkpoint
    from mmcnn.weights.recorded_config import recorded_config

    cfg = recorded_config(checkpoint, path)
    merge_options(cfg, options)
    return cfg, checkpoint


def check_initial_weights(cfg: Config, resume: str | None) -> None:
    """Settles ``--resume`` and ``load_from``, and looks into the files before any work is lost.

    Raises:
        CheckpointError: the file is missing, broken or unsafe, or holds no state to resume; no weights have this name.
        UsageError: ``load_from`` is an address.
    """
    load_from = cfg.get('load_from')
    from mmcnn.weights.files import open_weights

    if resume is None and cfg.get('resume'):  # --cfg-options resume=True
        resume = load_from or 'auto'
    if resume is not None:
        from mmcnn.weights.recorded_config import refuse_code_in_meta

        found = last_checkpoint(cfg.work_dir) if resume == 'auto' else (Path(resume), read_resumable(resume), [])
        if found is not None:
            path, checkpoint, passed_over = found
            refuse_code_in_meta(checkpoint, str(path))
            for reason in passed_over:
                print(f'note: {reason}; the run goes on from {path} instead', flush=True)
            cfg.resume, cfg.load_from = True, str(path)
            return
        print(f'there is no checkpoint in {cfg.work_dir} yet: starting from the beginning', flush=True)
        if earlier := sorted(path.name for path in Path(cfg.work_dir).glob('epoch_*.pth')):
            print(f'note: {", ".join(earlier)} there are of an earlier run; --resume FILE goes on from one', flush=True)
        cfg.resume = False
    if load_from:
        if is_address(load_from):  # MMEngine would run what a downloaded file says
            raise UsageError(f'load_from={load_from} is an address: download the file and name it')
        open_weights(load_from)
    for node in dicts_in(cfg.get('model')):
        if node.get('type') == 'Pretrained':
            if is_address(node['checkpoint']):
                resolve(node['checkpoint'])
            else:
                open_weights(node['checkpoint'])


def find_images(path: str) -> list[Path]:
    """The picture, or all pictures of a folder in order of their names.

    Raises:
        UsageError: there are none.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    found = (
        sorted(p for p in root.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if root.is_dir()
        else []
    )
    if not found:
        raise UsageError(f'{path} is no image and no folder with images ({", ".join(IMAGE_SUFFIXES)})')
    return found


def write_between_marks(path: str, mark: str, text: str) -> None:
    """Replaces what stands in a Markdown file between ``<!-- MARK -->`` and ``<!-- end of MARK -->``.

    Raises:
        UsageError: there is no such file, or it has no such marks.
    """
    begin, end = f'<!-- {mark} -->', f'<!-- end of {mark} -->'
    content = Path(path).read_text(encoding='utf-8') if Path(path).is_file() else ''
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(f'{path} is no file with the marks {begin} and {end}')
    Path(path).write_text(f'{before}{begin}\n\n{text}\n\n{end}{after}', encoding='utf-8')


def world_size(launcher: str) -> int:
    """Processes that train together, before they have found each other."""
    variable = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}.get(launcher)
    return int(os.environ.get(variable, 1)) if variable else 1


def default_work_dir(cfg: Config, chosen: str | None) -> str:
    """``--work-dir``, else ``work_dirs/`` and the config's name."""
    return chosen or cfg.get('work_dir') or str(Path('work_dirs') / Path(cfg.filename or 'mmcnn').stem)


def dicts_in(node: Any) -> Iterator[dict]:
    """Every dict inside a config, outermost first."""
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from dicts_in(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            yield from dicts_in(value)
