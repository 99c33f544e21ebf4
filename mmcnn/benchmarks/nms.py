"""Seconds of one class-wise NMS, in the pure-PyTorch form."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mmcnn import ops

NUM_BOXES, NUM_CLASSES = 30_000, 80
#: IoU above which a box is suppressed.
THRESHOLD = 0.65


def sides() -> dict[str, Callable[[], Tensor]]:
    """What is measured: calls that give the boxes kept of random ones, by name."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(NUM_BOXES, 2, generator=generator) * 600
    boxes = torch.cat([corners, corners + torch.rand(NUM_BOXES, 2, generator=generator) * 100 + 1], dim=1)
    scores = torch.rand(NUM_BOXES, generator=generator)
    labels = torch.randint(0, NUM_CLASSES, (NUM_BOXES,), generator=generator)
    offset_boxes = boxes + (labels * 1000)[:, None]
    return {
        'nms, classes apart by an offset': lambda: ops.nms(offset_boxes, scores, THRESHOLD),
        'batched_nms': lambda: ops.batched_nms(boxes, scores, labels, THRESHOLD),
    }


def measure(call: Callable[[], Tensor], runs: int) -> tuple[list[float], int]:
    """Seconds of each run of a call, and how many boxes it keeps."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        kept = len(call())
        seconds.append(time.perf_counter() - start)
    return seconds, kept


def report(name: str, seconds: list[float], kept: int) -> str:
    """The median, in a line."""
    return (
        f'{name}: {NUM_BOXES:,} boxes, {NUM_CLASSES} classes, {kept} kept: median {statistics.median(seconds):.3f} s '
        f'of {len(seconds)}'
    )
