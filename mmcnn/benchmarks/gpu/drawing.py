"""Of stage 2 the renderer: mosaics that the device draws, beside the same ones drawn on the CPU."""

from __future__ import annotations

import copy

import torch

from mmcnn.benchmarks.gpu.card import seconds_of
from mmcnn.benchmarks.gpu.measurement import Circumstances, Report, Timer
from mmcnn.benchmarks.gpu.parity import model_and_batch

#: Share of the values that may be off by more than a level of 255: hue is rounded, and a rounding may tip over.
BOUND = 1e-3


def measure(circumstances: Circumstances, timer: Timer, report: Report, *, recipe: str) -> None:
    """Compares the images that a batch of plans becomes; ``passed`` says whether they are within :data:`BOUND`.

    Args:
        circumstances: data and device.
        timer: not needed.
        report: takes ``error``, the share of the values that are off by more than a level, and milliseconds a batch.
        recipe: a key of :data:`~.recipes.RECIPES` whose mosaics can be left to the device.
    """
    device = torch.device(circumstances.device)
    options = {'train_dataloader.dataset.device_augmentation': True}
    model, batch = model_and_batch(circumstances, recipe, options)
    ours, other = model.data_preprocessor, copy.deepcopy(model.data_preprocessor).to(device)
    expected = ours(copy.deepcopy(batch), True)['inputs']
    found = other(copy.deepcopy(batch), True)['inputs']
    levels = (found.cpu() - expected).abs() * ours.std
    error = float((levels > 1 + 1e-3).float().mean())  # a level is not a whole number any more
    milliseconds = 1e3 * seconds_of(lambda: other(batch, True), device, calls=1)
    passed = error <= BOUND
    report(
        drawn=dict(error=error, bound=BOUND, images=len(found), ms=round(milliseconds, 3), passed=passed), passed=passed
    )
