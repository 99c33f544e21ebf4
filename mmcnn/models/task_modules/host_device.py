"""What host and device say to each other within a step, so that neither waits for the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor


def copied(values: Sequence, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers of the host as a tensor beside another one; the host does not wait for the copy.

    Args:
        values: numbers, nested or not.
        like: gives the device, and the type where ``dtype`` does not.
    """
    return torch.tensor(values, dtype=dtype or like.dtype).to(like.device, non_blocking=True)


def selects_freely(tensor: Tensor) -> bool:
    """Whether a selection whose size depends on the values costs nothing but its work, as it does on the CPU.

    On any other device the host has to wait for that size; there, everything is computed and what was not selected is
    masked.
    """
    return tensor.device.type == 'cpu'


def places(mask: Tensor, count: int) -> Tensor:
    """Indices of the true entries of a mask (N,), in their order.

    Args:
        mask: of bool.
        count: how many are true, if the host knows, so that it need not wait for the number.
    """
    if selects_freely(mask):
        return mask.nonzero().view(-1)
    return mask.logical_not().sort(stable=True).indices[:count]


def keep_anchors_on(device: torch.device, generator: AnchorGenerator) -> None:
    """Moves the anchors that a grid is laid of, so that they are copied once, not for every grid."""
    if generator.base_anchors[0].device != device:
        generator.base_anchors = [anchors.to(device) for anchors in generator.base_anchors]
