"""Operators of a convolution that is computed only at some positions (guided anchoring, arXiv 1901.03278)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def masked_im2col(features: Tensor, y: Tensor, x: Tensor, kernel: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return the patches that a convolution of stride 1 sees at M positions of its output.

    Args:
        features: ``(1, C, H, W)``.
        y: ``(M,)`` int64: rows of the output.
        x: ``(M,)``: columns.
        kernel: height and width.
        padding: zeros above and below, left and right.

    Returns:
        ``(C * K_h * K_w, M)``, in the order of a convolution's weight.
    """
    padded = F.pad(features[0], (padding[1], padding[1], padding[0], padding[0]))
    patches = padded.unfold(1, kernel[0], 1).unfold(2, kernel[1], 1)  # (C, H_out, W_out, K_h, K_w), a view
    return patches[:, y, x].permute(0, 2, 3, 1).flatten(0, 2)


def masked_col2im(columns: Tensor, y: Tensor, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a map ``(1, C, H, W)`` with the values ``(C, M)`` at ``y``, ``x`` and 0 elsewhere; ``size``: H, W."""
    image = columns.new_zeros(1, len(columns), *size)
    image[0, :, y, x] = columns
    return image
