"""Rounding errors amplified by layers of random weights: PyTorch's own share of them."""

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

#: A file may miss this many times as many detections as PyTorch's float32, plus this fraction of all.
TIMES, BESIDES = 2, 0.01
#: If PyTorch's float32 misses more than this fraction, twice as many would let nearly any file pass, so none passes.
MOST = 0.1


def in_double(plan: Plan, images: Sequence[np.ndarray]) -> list[Detections]:
    """Return PyTorch's detections in images (H, W, 3) uint8 BGR if the detector computes in float64."""
    network = copy.deepcopy(plan.found.network).double()
    network.data_preprocessor.register_forward_hook(
        lambda _, args, data: {**data, 'inputs': data['inputs'].double()}
    )  # fmt: skip
    precise = replace(plan, found=replace(plan.found, network=network))
    return [reference(precise, image) for image in images]


@torch.no_grad()
def outputs_in_double(plan: Plan, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Return the outputs of the exported module if it computes in float64."""
    return [each.numpy() for each in copy.deepcopy(plan.module).double()(*inputs)]


def no_worse(file: tuple[int, int], torch: tuple[int, int], every: int) -> bool:
    """Return whether a file is as close to float64 as PyTorch's float32.

    Args:
        file: number of float64 detections that the file misses, and number of its additional ones.
        torch: the same for PyTorch in float32.
        every: number of detections in float64.
    """
    return all(
        theirs <= MOST * every and ours <= TIMES * theirs + BESIDES * every
        for ours, theirs in zip(file, torch, strict=True)
    )
