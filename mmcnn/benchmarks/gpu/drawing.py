"""Stage 2, rendering: mosaics drawn by the device compared with the same ones drawn on the CPU."""

from __future__ import annotations

import copy

import torch

from mmcnn.benchmarks.gpu.card import seconds_of
from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.benchmarks.gpu.parity import model_and_batch

#: Fraction of the values that may differ by more than a level of 255, since the hue is rounded.
BOUND = 1e-3


def measure(circumstances: Circumstances, timer: Timer, report: Report, *, recipe: str) -> None:
    """Compare the rendered images of a batch of plans; ``passed`` says whether they are within :data:`BOUND`.

    Args:
        circumstances: data and device.
        timer: not used.
        report: takes ``error``, the fraction of values that differ by more than a level, and milliseconds per batch.
        recipe: a key of :data:`~.recipes.RECIPES` whose mosaics can be drawn by the device.
    """
    device = torch.device(circumstances.device)
    options = {'train_dataloader.dataset.device_augmentation': True}
    model, batch = model_and_batch(circumstances, recipe, options)
    ours, other = model.data_preprocessor, copy.deepcopy(model.data_preprocessor).to(device)
    expected = ours(copy.deepcopy(batch), True)['inputs']
    found = other(copy.deepcopy(batch), True)['inputs']
    levels = (found.cpu() - expected).abs() * ours.std
    error = float((levels > 1 + 1e-3).float().mean())  # a level is no longer a whole number
    milliseconds = 1e3 * seconds_of(lambda: other(batch, True), device, calls=1)
    passed = error <= BOUND
    report(
        drawn=dict(error=error, bound=BOUND, images=len(found), ms=round(milliseconds, 3), passed=passed), passed=passed
    )
