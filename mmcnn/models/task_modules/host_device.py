"""Communication between host and device within a step without either waiting for the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor


def copied(values: Sequence, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return numbers of the host as a tensor on the device of another one; the host does not wait for the copy.

    Args:
        values: numbers, nested or not.
        like: provides the device, and the dtype if ``dtype`` is None.
        dtype: type of the result.
    """
    return torch.tensor(values, dtype=dtype or like.dtype).to(like.device, non_blocking=True)


def selects_freely(tensor: Tensor) -> bool:
    """Return whether a selection whose size depends on values is free of waits, as on the CPU.

    On any other device the host has to wait for the size; there, everything is computed and what is not selected is
    masked.
    """
    return tensor.device.type == 'cpu'


def places(mask: Tensor, count: int) -> Tensor:
    """Return the indices of the true entries of a mask (N,), in order.

    Args:
        mask: bool.
        count: number of true entries, if the host knows it and need not wait for it.
    """
    if selects_freely(mask):
        return mask.nonzero().view(-1)
    return mask.logical_not().sort(stable=True).indices[:count]


def keep_anchors_on(device: torch.device, generator: AnchorGenerator) -> None:
    """Move the base anchors of a generator to the device, so that they are copied once and not for every grid."""
    if generator.base_anchors[0].device != device:
        generator.base_anchors = [anchors.to(device) for anchors in generator.base_anchors]
