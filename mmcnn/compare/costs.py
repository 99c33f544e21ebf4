"""Latency and energy of the candidates of a comparison, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mmcnn.compare.energy import EnergyMeter
from mmcnn.compare.results import Cost
from mmcnn.inference.detector import Detector
from mmcnn.machine import machine

#: Warm-up rounds.
WARM_UP = 3


def measured(
    detectors: Mapping[str, Detector], images: Sequence[np.ndarray], rounds: int
) -> dict[str, dict[str, Cost]]:
    """Measure latency and energy of one image, in turn (A B A B ...), so that a slow phase of the machine affects all.

    Args:
        detectors: by name of the candidate, with their trained weights: the time of NMS depends on the boxes.
        images: images of the validation split, (H, W, 3) in BGR; each round uses the next one.
        rounds: number of rounds that the medians are computed from.
    """
    if not detectors:
        return {}
    whole: dict[str, list[float]] = {name: [] for name in detectors}
    alone: dict[str, list[float]] = {name: [] for name in detectors}
    joules: dict[str, list[float]] = {name: [] for name in detectors}
    meter = EnergyMeter.found()
    names = list(detectors)
    for number in range(-WARM_UP, rounds):
        image, first = images[number % len(images)], number % len(names)
        for name in names[first:] + names[:first]:
            detector = detectors[name]
            seconds, energy = _timed(partial(detector, image), meter)
            forward, _ = _timed(partial(_forward, detector, detector.prepare([image])['inputs']), None)
            if number >= 0:
                whole[name].append(1e3 * seconds)
                alone[name].append(1e3 * forward)
                joules[name].append(energy)
    where = described_machine()
    how = f'median of {rounds} measured in turn, one validation image each, BatchNorm folded, on {where}'
    return {
        name: dict(
            latency=Cost(
                float(np.median(whole[name])), 'ms', f'from the decoded image to its boxes, including NMS; {how}'
            ),
            network_latency=Cost(float(np.median(alone[name])), 'ms', f'only the network; {how}'),
            energy=Cost(
                None if meter is None else float(np.mean(joules[name])),
                'J',
                EnergyMeter.why_not()
                if meter is None
                else f'{meter.how}, for an image including NMS, mean of {rounds}',
            ),
        )
        for name in names
    }


def described_machine() -> str:
    """Return a short description of the machine."""
    found = machine()
    return f'{found["gpu"]}' if found['gpu'] else f'{found["processor"]}, threads: {found["threads"]}'


def _forward(detector: Detector, inputs: Tensor) -> None:
    with torch.no_grad():
        detector.model(inputs, mode='tensor')


def _timed(call: Callable[[], object], meter: EnergyMeter | None) -> tuple[float, float]:
    """Return seconds and joules of a call; 0 joules without a meter."""
    _synchronise()
    before = meter.joules() if meter else 0.0
    start = time.perf_counter()
    call()
    _synchronise()
    return time.perf_counter() - start, (meter.joules() - before if meter else 0.0)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
