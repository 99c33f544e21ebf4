"""Rounding errors that grow through layers of random weights: PyTorch's own share of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mmcnn.deployment.plan import Plan
from mmcnn.deployment.reference import reference
from mmcnn.inference.detections import Detections

#: A file may miss this many times as many detections as PyTorch's float32, and this share of all of them besides.
TIMES, BESIDES = 2, 0.01
#: Where PyTorch's float32 misses more than this share, twice as many would pass about any file, and none passes.
MOST = 0.1


def in_double(plan: Plan, images: Sequence[np.ndarray]) -> list[Detections]:
    """Return what PyTorch finds in images (H, W, 3) uint8 BGR if the detector computes in float64."""
    network = copy.deepcopy(plan.found.network).double()
    network.data_preprocessor.register_forward_hook(
        lambda _, args, data: {**data, 'inputs': data['inputs'].double()}
    )  # fmt: skip
    precise = replace(plan, found=replace(plan.found, network=network))
    return [reference(precise, image) for image in images]


@torch.no_grad()
def outputs_in_double(plan: Plan, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Return what the module that was exported gives if it computes in float64."""
    return [each.numpy() for each in copy.deepcopy(plan.module).double()(*inputs)]


def no_worse(file: tuple[int, int], torch: tuple[int, int], every: int) -> bool:
    """Return whether a file is as near to float64 as PyTorch's float32.

    Args:
        file: how many detections of float64 the file misses, and how many it has besides.
        torch: the same of PyTorch in float32.
        every: how many detections there are in float64.
    """
    return all(
        theirs <= MOST * every and ours <= TIMES * theirs + BESIDES * every
        for ours, theirs in zip(file, torch, strict=True)
    )
