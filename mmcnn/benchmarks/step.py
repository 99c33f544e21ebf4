"""Seconds of a training step on the CPU."""

from __future__ import annotations

import statistics
import time

import torch
from mmengine.config import Config

from mmcnn.registry import MODELS


def measure(cfg: Config, batch_size: int, img_size: int, steps: int = 6) -> float:
    """Median seconds of a forward and backward pass of the whole detector without its loss.

    Args:
        cfg: with a wired model.
        batch_size: images a step.
        img_size: their side, pixels.
        steps: how many are measured, after one that only warms up.
    """
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model}).train()
    images = torch.rand(batch_size, 3, img_size, img_size)
    seconds = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        sum(logits.square().mean() for logits in model(images)[0]).backward()
        model.zero_grad()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
