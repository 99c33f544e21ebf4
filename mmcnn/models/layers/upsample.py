"""Doubling of a coarse map onto a finer one."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def doubled(x: Tensor, like: Tensor) -> Tensor:
    """Upsample (N, C, H, W) to (N, C, 2H, 2W) by nearest neighbours.

    Raises:
        ValueError: ``like`` does not have twice the size.
    """
    if (2 * x.shape[-2], 2 * x.shape[-1]) != tuple(like.shape[-2:]):
        raise ValueError(
            f'a map of {tuple(x.shape[-2:])} cannot be upsampled to one of {tuple(like.shape[-2:])}: image sides must '
            'be multiples of the coarsest stride (set pad_size_divisor=32 in the data preprocessor)'
        )
    return F.interpolate(x, scale_factor=2, mode='nearest')
