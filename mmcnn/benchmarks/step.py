"""The parts of a training step on the CPU, ours and MMDetection's in turn: CPU seconds on one thread."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import torch

from mmcnn.benchmarks.comparison import Comparison, Say
from mmcnn.benchmarks.divided import NETWORK
from mmcnn.benchmarks.options import StepOptions
from mmcnn.benchmarks.pipeline import data_folder
from mmcnn.benchmarks.step_parts import PARTS, DividedMMEngineLoop, DividedTrainLoop
from mmcnn.benchmarks.trainings import (
    OURS,
    PEER,
    comparison,
    measure_in_turn,
    our_training,
    peer_training,
)
from mmcnn.runs.data import demo_data
from mmcnn.runs.process_state import kept_process_state

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
    with tempfile.TemporaryDirectory() as work, data_folder(folder) as data, kept_process_state(), _one_thread():
        runners = {
            PEER: peer_training(options, data, Path(work, 'peer'), DividedMMEngineLoop, EPOCHS, validates=False),
            OURS: our_training(options, data, Path(work, 'ours'), DividedTrainLoop, EPOCHS, validates=False),
        }
        rounds = measure_in_turn(runners, lambda steps: partial(steps.mean, options.steps), options.runs)
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
    found = [comparison(f'{REST}, share', '%', share, 1)]
    found += [comparison(row, 'ms', figures, 1e3) for row, figures in seconds.items()]
    return [each for each in found if each.figures]


def shares(values: Sequence[Mapping[str, float]]) -> str:
    """Return one side's rounds in a line: the share of each part in a step, the largest first."""

    def of(part: str) -> float:
        return median(100 * each[part] / sum(each.values()) for each in values)

    parts = sorted((part for part in PARTS if of(part)), key=of, reverse=True)
    return 'of a step, ' + ', '.join(f'{part} {of(part):.1f} %' for part in parts)


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
