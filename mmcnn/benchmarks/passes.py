"""Seconds of a forward and backward pass on the CPU."""

from __future__ import annotations

import torch

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import PassesOptions
from mmcnn.benchmarks.wired import wired_config
from mmcnn.interleaved import wall_seconds
from mmcnn.registry import MODELS
from mmcnn.runs.device import use_device


def measure(options: PassesOptions, say: Say) -> list[Comparison]:
    """Measure a forward and backward pass of the whole detector without its loss."""
    cfg = wired_config(options)
    if options.keep_memory:
        use_device('cpu')
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model}).train()
    images = torch.rand(options.batch_size, 3, options.img_size, options.img_size)

    def step() -> None:
        sum(logits.square().mean() for logits in model(images)[0]).backward()
        model.zero_grad()

    return [compare(options.config, [Side('forward and backward', wall_seconds(step))], options.runs)]
