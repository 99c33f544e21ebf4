"""Spatial pyramid pooling with stride-1 max-pools (He et al. 2014 as used in YOLOv3-SPP, YOLOv4 and YOLOv5)."""

from __future__ import annotations

from torch import Tensor, nn

from .concat import concatenate
from .conv import ConvNormAct


class PyramidPool(nn.Module):
    """Max-pools of 5, 9 and 13 beside the input: (N, C, H, W) to (N, 4C, H, W).

    The pools are chained: two 5-pools are one 9-pool and three one 13-pool, exactly and at a quarter of the work.

    Args:
        largest_first: channel order ``[p13, p9, p5, x]`` (yolov4.cfg) instead of ``[x, p5, p9, p13]`` (YOLOv5).
            Weights of one order load into the other but give wrong results.
    """

    def __init__(self, largest_first: bool = False) -> None:
        super().__init__()
        self.largest_first = largest_first
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4C, H, W)."""
        maps = [x]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return concatenate(maps[::-1] if self.largest_first else maps)


class SPP(nn.Module):
    """1x1 to half the channels, :class:`PyramidPool`, 1x1: (N, C_in, H, W) to (N, C_out, H, W).

    YOLOv5's SPP(5, 9, 13); its SPPF(5) is the same function with the same weights.
    """

    def __init__(self, in_channels: int, out_channels: int, **conv: object) -> None:
        super().__init__()
        hidden = in_channels // 2
        self.conv1 = ConvNormAct(in_channels, hidden, 1, **conv)
        self.pool = PyramidPool()
        self.conv2 = ConvNormAct(4 * hidden, out_channels, 1, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        return self.conv2(self.pool(self.conv1(x)))
