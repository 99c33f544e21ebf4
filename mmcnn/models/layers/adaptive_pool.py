"""Average pool to a given size that exports correctly with dynamic input sizes and is deterministic on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ExportableAdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """PyTorch's own for a square output: (N, C, H, W) to (N, C, side, side), output i is the mean over its window.

    If ``torch.export`` keeps H or W dynamic, PyTorch 2.13 decomposes its own operator for the one size it was given,
    and the graph is silently wrong at other sizes. Also, the operator's gradient has no deterministic CUDA kernel. In
    both cases two products with matrices computed from the size replace it: the same means except for
    rounding. For a single output pixel PyTorch takes a plain mean, which is correct in both cases.

    Args:
        side: side of the output in pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__(side)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, side, side)."""
        height, width = x.shape[-2:]
        is_open = isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt)
        if self.output_size == 1 or not (is_open or torch.are_deterministic_algorithms_enabled()):
            return super().forward(x)
        return self._windows(height, x) @ x @ self._windows(width, x).T

    def _windows(self, size: int, like: Tensor) -> Tensor:
        """Return (side, size): row i has 1 / length from floor(i * size / side) to ceil((i + 1) * size / side)."""
        i = torch.arange(self.output_size, device=like.device)
        begins = i * size // self.output_size
        ends = ((i + 1) * size + self.output_size - 1) // self.output_size
        pixels = torch.arange(size, device=like.device)
        inside = (pixels >= begins[:, None]) & (pixels < ends[:, None])
        return inside.to(like.dtype) / (ends - begins)[:, None].to(like.dtype)
