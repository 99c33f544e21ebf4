"""Images per second of whole trainings: ours, MMDetection's and programs given by the user, epochs in turn."""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.config import Config

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import StepOptions, TrainBenchmarkOptions, ValidationOptions
from mmcnn.benchmarks.pipeline import data_folder, inner_config
from mmcnn.benchmarks.programs import Program, other_programs
from mmcnn.benchmarks.wired import wired_config
from mmcnn.compat.packaged_configs import packaged_config
from mmcnn.datasets.check.report import DetectorData
from mmcnn.models.costs import measure as measure_cost
from mmcnn.models.wiring import set_num_classes
from mmcnn.registry import MODELS

#: Our and MMEngine's output at the end of a training epoch.
OUR_EPOCH = r'^epoch (\d+)/\d+  step (\d+)/\2 '
MMENGINE_EPOCH = r'Epoch\(train\) +\[ *(\d+)\]\[ *(\d+)/\2\]'
#: MMDetection's peer of YOLOv5.
YOLOX = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
#: Epochs in addition to the measured ones: one for warm-up, and one so that none is the last.
SPARE = 2


def measure(options: TrainBenchmarkOptions, say: Say) -> list[Comparison]:
    """Measure images per second, including the loader, the optimizer and all hooks but no validation.

    Every side is a separate program that is stopped during another's turn. MMDetection's YOLOX-tiny is another network:
    its rate is converted to that of a network with our multiply-adds.

    Raises:
        MmcnnError: as in a training; or a program ends too early.
    """
    epochs = options.runs + SPARE
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = stack.enter_context(data_folder(options.data))
        images = data.num_train
        sides = []

        def add(name: str, command: Sequence[str], mark: str, peer: bool, scale: float = 1.0) -> None:
            program = stack.enter_context(Program(name, command, mark, work))
            sides.append(Side(name, _rate(program, images * scale), peer))

        for amp in ('off', 'auto'):
            command = _ours(options, data, epochs, work / amp, amp)
            add('mmcnn' if amp == 'off' else 'mmcnn, --amp', command, OUR_EPOCH, peer=False)
        config, scale = yolox(options, data, epochs, work)
        say(f'YOLOX-tiny has {scale:.2f} times the multiply-adds of {options.config}: its rate is multiplied by that')
        command = [sys.executable, '-m', 'mmcnn', 'run', 'mmdet-tool', 'train', str(config)]
        command += ['--work-dir', str(work / 'yolox')]
        add('MMDetection YOLOX-tiny', command, MMENGINE_EPOCH, peer=True, scale=scale)
        for name, command in other_programs(options.peers, [side.name for side in sides]).items():
            add(name, command, options.epoch_pattern, peer=True)
        return [compare(options.config, sides, options.runs, 'images/s', more_is_better=True)]


def _ours(options: TrainBenchmarkOptions, data: DetectorData, epochs: int, work_dir: Path, amp: str) -> list[str]:
    command = [
        sys.executable, '-m', 'mmcnn', 'train', options.config, '--data', str(data.root), '--epochs', str(epochs),
        '--img-size', str(options.img_size), '--batch-size', str(options.batch_size), '--workers', str(options.workers),
        '--work-dir', str(work_dir), f'--amp={amp}', '--logger', 'none',
    ]  # fmt: skip
    if options.cache_gb is not None:
        command += ['--cache-gb', str(options.cache_gb)]
    if options.backbone is not None:
        command += ['--backbone', options.backbone]
    for name in options.imports or ():
        command += ['--import', name]
    settings = {'train_cfg.val_interval': epochs + 1, **options.cfg_options}
    return [*command, '--cfg-options', *(f'{key}={value!r}' for key, value in settings.items())]


def yolox(
    options: TrainBenchmarkOptions | StepOptions | ValidationOptions, data: DetectorData, epochs: int, folder: Path
) -> tuple[Path, float]:
    """Return MMDetection's config for the data, written to a folder, and its multiply-adds as a multiple of ours.

    With ``ValidationOptions`` it validates after each epoch, with its own limits of scores and boxes.
    """
    cfg, size = Config.fromfile(packaged_config(YOLOX)), options.img_size
    cfg.model.data_preprocessor.batch_augments = None  # all sides train at the same size
    cfg.model.bbox_head.num_classes = len(data.classes)
    for step in cfg.train_pipeline:
        if 'img_scale' in step:
            step.img_scale = (size, size)
        if step.type == 'RandomAffine':
            step.border = (-size // 2, -size // 2)
        if step.type == 'Resize':
            step.scale = (size, size)
    own = inner_config(data)
    loading = cfg.train_dataloader.dataset.dataset.pipeline
    cfg.train_dataloader = dict(
        batch_size=options.batch_size,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='MultiImageMixDataset', dataset=dict(own, pipeline=loading), pipeline=cfg.train_pipeline),
    )
    validated = ('val_dataloader', 'val_cfg', 'val_evaluator')
    if isinstance(options, ValidationOptions):
        _validate_on(data, cfg, options)
        validated = ()
    for key in (*validated, 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg.pop(key)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=math.ceil(data.num_train / options.batch_size))
    path = folder / 'yolox.py'
    cfg.dump(path)
    ours = wired_config(options)
    set_num_classes(ours.model, len(data.classes))
    return path, multiply_adds(cfg, size) / multiply_adds(ours, size)


def _validate_on(data: DetectorData, cfg: Config, options: ValidationOptions) -> None:
    """Make MMDetection's config validate on a folder, at the size of the training."""
    own = inner_config(data, 'val')
    for step in cfg.val_dataloader.dataset.pipeline:
        if step.type == 'Resize':
            step.scale = (options.img_size, options.img_size)
    cfg.val_dataloader.update(
        batch_size=options.batch_size, num_workers=options.workers, persistent_workers=options.workers > 0
    )
    cfg.val_dataloader.dataset.update(own)
    cfg.val_evaluator.ann_file = str(Path(data.root, own['ann_file']))


def multiply_adds(cfg: Config, size: int) -> float:
    """Return the multiply-adds of a detector's forward pass, for one image of ``size`` x ``size`` pixels."""
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model}).eval()
    with torch.no_grad():
        return measure_cost(model, torch.zeros(1, 3, size, size))[0].multiply_adds


def _rate(program: Program, images: float) -> Callable[[], float]:
    return lambda: images / program.lap()
