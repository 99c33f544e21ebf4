"""Average pool to a given size, exported right where the size of the input is left open, and deterministic on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ExportableAdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """PyTorch's own for a square output: (N, C, H, W) to (N, C, side, side), output i is the mean over its window.

    Where ``torch.export`` leaves H or W open, PyTorch 2.13 decomposes its own operator for the one size that was seen,
    and the graph is wrong at others, silently. And the gradient of its operator has no deterministic CUDA kernel. In
    both cases it is two products with matrices that are computed from the size instead: the same means but for their
    rounding. To one pixel PyTorch takes a plain mean, which is right in both.

    Args:
        side: of the output, pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__(side)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        is_open = isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt)
        if self.output_size == 1 or not (is_open or torch.are_deterministic_algorithms_enabled()):
            return super().forward(x)
        return self._windows(height, x) @ x @ self._windows(width, x).T

    def _windows(self, size: int, like: Tensor) -> Tensor:
        """(side, size): row i has 1 / length in window i, floor(i * size / side) to ceil((i + 1) * size / side)."""
        i = torch.arange(self.output_size, device=like.device)
        begins = i * size // self.output_size
        ends = ((i + 1) * size + self.output_size - 1) // self.output_size
        pixels = torch.arange(size, device=like.device)
        inside = (pixels >= begins[:, None]) & (pixels < ends[:, None])
        return inside.to(like.dtype) / (ends - begins)[:, None].to(like.dtype)
