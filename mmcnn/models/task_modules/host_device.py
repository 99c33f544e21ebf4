"""What host and device say to each other within a step, so that neither waits for the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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
