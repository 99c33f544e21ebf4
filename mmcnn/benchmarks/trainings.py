"""Our training and MMDetection's in one process, with loops whose time is divided."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmcnn.benchmarks.comparison import Comparison
from mmcnn.benchmarks.divided import DividedLoop
from mmcnn.benchmarks.options import StepOptions, ValidationOptions
from mmcnn.benchmarks.train import yolox
from mmcnn.console import Console
from mmcnn.datasets.check.report import DetectorData
from mmcnn.interleaved import in_turn
from mmcnn.runs.console_hook import ConsoleHook
from mmcnn.runs.console_runner import runner_for
from mmcnn.runs.first_use import FirstUseHook
from mmcnn.runs.folding_hook import FoldingHook
from mmcnn.runs.head import training_rows
from mmcnn.runs.history_hook import HistoryHook
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.performance import PerformanceHook
from mmcnn.runs.precision_hook import PrecisionHook
from mmcnn.runs.prepare import prepare

OURS, PEER = 'mmcnn', 'MMDetection YOLOX-tiny'
#: Seconds of each part.
Parts = dict[str, float]


def our_training(
    options: StepOptions | ValidationOptions,
    data: DetectorData,
    work_dir: Path,
    loop: type[DividedLoop],
    epochs: int,
    validates: bool,
) -> Runner:
    """Return the runner of our training, with all hooks of ``mmcnn train``.

    Args:
        options: options of the benchmark.
        data: the checked data.
        work_dir: folder for checkpoints and logs.
        loop: class of the training loop.
        epochs: length of the schedule.
        validates: whether the runner has a validation.
    """
    run = prepare(
        TrainOptions(
            config=options.config, data=str(data.root), epochs=epochs, img_size=options.img_size,
            batch_size=options.batch_size, workers=options.workers, cache_gb=options.cache_gb, device='cpu',
            amp=options.amp, work_dir=work_dir, backbone=options.backbone, imports=options.imports,
            cfg_options={'optim_wrapper.accumulative_counts': 1, **options.cfg_options},
        ),
        data=data,
    )  # fmt: skip
    cfg = run.cfg
    cfg.train_cfg = dict(type=f'mmcnn.{loop.__name__}', max_epochs=epochs)
    if not validates:
        _drop_validation(cfg)
    console = Console()
    runner = runner_for(console).from_cfg(cfg)
    for hook in (PerformanceHook(), PrecisionHook(), FoldingHook(), FirstUseHook(), HistoryHook()):
        runner.register_hook(hook)
    runner.register_hook(ConsoleHook(console, training_rows))
    return runner


def peer_training(
    options: StepOptions | ValidationOptions,
    data: DetectorData,
    folder: Path,
    loop: type[DividedLoop],
    epochs: int,
    validates: bool,
) -> Runner:
    """Return the runner of MMDetection's YOLOX-tiny with MMEngine's hooks; see :func:`our_training`."""
    folder.mkdir()
    cfg = Config.fromfile(yolox(options, data, epochs, folder)[0])
    cfg.train_cfg = dict(type=f'mmcnn.{loop.__name__}', max_epochs=epochs)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=50)
    if validates:  # as ours
        cfg.default_hooks.checkpoint = dict(
            type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='coco/bbox_mAP'
        )
    cfg.work_dir, cfg.log_level = str(folder), 'ERROR'
    if not validates:
        _drop_validation(cfg)
    return Runner.from_cfg(cfg)


def measure_in_turn(
    runners: Mapping[str, Runner], measured: Callable[[Any], Callable[[], Parts]], rounds: int
) -> dict[str, list[Parts]]:
    """Run trainings that stand still while another one is measured.

    Args:
        runners: trainings with a :class:`DividedLoop`, by the name of their side.
        measured: takes what such a loop gives, and returns a call that measures it once.
        rounds: number of rounds.

    Returns:
        For each side the seconds of its parts in each round.
    """
    sides: dict[str, Callable[[], Parts]] = {}
    found: dict[str, list[Parts]] = {}

    def enter(rest: Sequence[str]) -> None:
        if not rest:
            found.update(in_turn(sides, rounds))
            return
        name, *later = rest

        def take(division: Any) -> None:
            sides[name] = measured(division)
            enter(later)

        runners[name].train_loop.give(take)
        runners[name].train()

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # console output of a training
        warnings.simplefilter('ignore', FutureWarning)  # of MMDetection's own calls
        enter([*runners])
    return {name: found[name] for name in (OURS, PEER) if name in found}


def comparison(row: str, unit: str, figures: Mapping[str, Sequence[float]], scale: float) -> Comparison:
    """Return the comparison of the sides that have this part in every round.

    Args:
        row: the part.
        unit: unit of the scaled figures.
        figures: seconds or fractions of each round, by side.
        scale: factor to that unit.
    """
    found = {name: [scale * each for each in values] for name, values in figures.items() if all(values)}
    return Comparison(row, unit, found, frozenset({PEER} & {*found}) if OURS in found else frozenset())


def _drop_validation(cfg: Config) -> None:
    for name in ('val', 'test'):
        cfg[f'{name}_cfg'] = cfg[f'{name}_dataloader'] = cfg[f'{name}_evaluator'] = None
