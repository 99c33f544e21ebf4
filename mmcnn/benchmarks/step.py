"""The parts of a training step on the CPU, ours and MMDetection's in turn: CPU seconds on one thread."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import cv2
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmcnn.benchmarks.comparison import Comparison, Say
from mmcnn.benchmarks.options import StepOptions
from mmcnn.benchmarks.pipeline import data_folder
from mmcnn.benchmarks.step_parts import NETWORK, PARTS, DividedMMEngineLoop, DividedSteps, DividedTrainLoop
from mmcnn.benchmarks.train import yolox
from mmcnn.console import Console
from mmcnn.datasets.check.report import DetectorData
from mmcnn.interleaved import in_turn
from mmcnn.runs.console_hook import ConsoleHook
from mmcnn.runs.console_runner import runner_for
from mmcnn.runs.data import demo_data
from mmcnn.runs.first_use import FirstUseHook
from mmcnn.runs.head import training_rows
from mmcnn.runs.history_hook import HistoryHook
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.performance import PerformanceHook
from mmcnn.runs.precision_hook import PrecisionHook
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state

OURS, PEER = 'mmcnn', 'MMDetection YOLOX-tiny'
REST = 'not the network'
#: Number of epochs of the trainings, of which only steps of the first one are made.
EPOCHS = 300


def measure(options: StepOptions, say: Say) -> list[Comparison]:
    """Measure milliseconds of each part of a step, including the loader and all hooks; each iteration makes a step.

    MMDetection's YOLOX-tiny runs in float32 in MMEngine's loop, with its own hooks, on the same data and in the same
    process. Its network is different, so the rest is compared; only ours has the step guard.

    Raises:
        MmcnnError: as in a training; or the config's detector has more than one stage.
    """
    folder = demo_data() if options.data == 'demo' else options.data
    rounds: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as work, data_folder(folder) as data, kept_process_state(), _one_thread():
        peer, ours = _peer(options, data, Path(work, 'peer')), _ours(options, data, Path(work, 'ours'))

        def both(theirs: DividedSteps) -> None:
            def of_each(own: DividedSteps) -> None:
                sides = {OURS: own, PEER: theirs}
                rounds.update(in_turn({name: _mean(side, options.steps) for name, side in sides.items()}, options.runs))

            _give(ours, of_each)

        with contextlib.redirect_stdout(io.StringIO()):  # console output of a training
            _give(peer, both)
    found = comparisons(rounds)
    for name, values in rounds.items():
        say(f'{name}: {shares(values)}')
    return found


def comparisons(rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Comparison]:
    """Return the comparisons of the whole step, of everything but the network, and of each part.

    Args:
        rounds: for each side the seconds of the parts in each round.
    """
    whole = {name: [sum(each.values()) for each in values] for name, values in rounds.items()}
    rest = {name: [total - each[NETWORK] for total, each in zip(whole[name], values, strict=True)]
            for name, values in rounds.items()}  # fmt: skip
    share = {name: [100 * a / b for a, b in zip(rest[name], whole[name], strict=True)] for name in rounds}
    parts = {part: {name: [each[part] for each in values] for name, values in rounds.items()} for part in PARTS}
    seconds = {'step': whole, REST: rest, **parts}
    found = [_comparison(f'{REST}, share', '%', share, 1)]
    found += [_comparison(row, 'ms', figures, 1e3) for row, figures in seconds.items()]
    return [each for each in found if each.figures]


def shares(values: Sequence[Mapping[str, float]]) -> str:
    """Return one side's rounds in a line: the share of each part in a step, the largest first."""

    def of(part: str) -> float:
        return median(100 * each[part] / sum(each.values()) for each in values)

    parts = sorted((part for part in PARTS if of(part)), key=of, reverse=True)
    return 'of a step, ' + ', '.join(f'{part} {of(part):.1f} %' for part in parts)


def _comparison(row: str, unit: str, figures: Mapping[str, list[float]], scale: float) -> Comparison:
    """Return the comparison of the sides that have this part."""
    found = {name: [scale * each for each in values] for name, values in figures.items() if all(values)}
    return Comparison(row, unit, found, frozenset({PEER} & {*found}) if OURS in found else frozenset())


def _mean(side: DividedSteps, steps: int) -> Callable[[], dict[str, float]]:
    return lambda: side.mean(steps)


def _give(runner: Runner, take: Callable[[DividedSteps], object]) -> None:
    runner.train_loop.give(take)
    runner.train()


def _ours(options: StepOptions, data: DetectorData, work_dir: Path) -> Runner:
    run = prepare(
        TrainOptions(
            config=options.config, data=str(data.root), epochs=EPOCHS, img_size=options.img_size,
            batch_size=options.batch_size, workers=options.workers, cache_gb=options.cache_gb, device='cpu',
            amp=options.amp, work_dir=work_dir, backbone=options.backbone, imports=options.imports,
            cfg_options={'optim_wrapper.accumulative_counts': 1, **options.cfg_options},
        ),
        data=data,
    )  # fmt: skip
    cfg = run.cfg
    cfg.train_cfg = dict(type=f'mmcnn.{DividedTrainLoop.__name__}', max_epochs=EPOCHS)
    _without_validation(cfg)
    console = Console()
    runner = runner_for(console).from_cfg(cfg)
    for hook in (PerformanceHook(), PrecisionHook(), FirstUseHook(), HistoryHook()):
        runner.register_hook(hook)
    runner.register_hook(ConsoleHook(console, training_rows))
    return runner


def _peer(options: StepOptions, data: DetectorData, folder: Path) -> Runner:
    folder.mkdir()
    cfg = Config.fromfile(yolox(options, data, EPOCHS, folder)[0])
    cfg.train_cfg = dict(type=f'mmcnn.{DividedMMEngineLoop.__name__}', max_epochs=EPOCHS)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=50)
    cfg.work_dir, cfg.log_level = str(folder), 'ERROR'
    _without_validation(cfg)
    return Runner.from_cfg(cfg)


def _without_validation(cfg: Config) -> None:
    for name in ('val', 'test'):
        cfg[f'{name}_cfg'] = cfg[f'{name}_dataloader'] = cfg[f'{name}_evaluator'] = None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Make PyTorch and OpenCV compute on one thread."""
    threads, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(of_opencv)
