"""Seconds of one class-wise NMS in pure PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmcnn import ops
from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import BenchmarkOptions
from mmcnn.interleaved import wall_seconds

NUM_BOXES, NUM_CLASSES = 30_000, 80
#: IoU above which a box is suppressed.
THRESHOLD = 0.65


def sides() -> dict[str, Callable[[], Tensor]]:
    """Return the measured calls by name, which return the kept ones of random boxes."""
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


def measure(options: BenchmarkOptions, say: Say) -> list[Comparison]:
    """Measure the seconds of each way; none is a peer, since both are ours."""
    calls = sides()
    for name, call in calls.items():
        say(f'{name}: {len(call())} of {NUM_BOXES:,} boxes of {NUM_CLASSES} classes are kept')
    return [compare('nms', [Side(name, wall_seconds(call)) for name, call in calls.items()], options.runs)]
