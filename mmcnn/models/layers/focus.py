"""Focus: space to depth at the image (YOLOv5 v1 to v5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .padding import pad


class Focus(nn.Module):
    """Slices every 2x2 block of pixels into channels: (N, C, H, W) to (N, 4C, ceil(H/2), ceil(W/2)).

    Order of the slices (row, column): (0, 0), (1, 0), (0, 1), (1, 1), as in YOLOv5 and in MMDetection's Focus, so that
    weights transfer. Odd sizes are padded with zeros at the right and at the bottom.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4C, ceil(H/2), ceil(W/2))."""
        height, width = x.shape[-2:]
        # Not size % 2: with these sums the exporters' solver knows that the four slices have the same size.
        x = pad(x, (0, (width + 1) // 2 * 2 - width, 0, (height + 1) // 2 * 2 - height))
        rows_columns = ((0, 0), (1, 0), (0, 1), (1, 1))
        return torch.cat([x[..., row::2, column::2] for row, column in rows_columns], dim=1)
