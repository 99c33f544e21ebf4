"""A stage of 3x3 convolutions only (Simonyan & Zisserman, arXiv 1409.1556)."""

from __future__ import annotations

from torch import nn

from .conv import ConvNormAct


class PlainStage(nn.Sequential):
    """[2x2 max-pool of stride 2,] then ``depth`` 3x3 with bias; keys ``conv1``, ``conv2``, ...

    (N, C_in, H, W) to (N, C_out, H, W), with ``pool`` to (N, C_out, ceil(H/2), ceil(W/2)). Depth 0 is a pool alone.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, pool: bool, **conv: object) -> None:
        super().__init__()
        if pool:
            self.pool = nn.MaxPool2d(2, ceil_mode=True)
        for i in range(1, depth + 1):
            self.add_module(f'conv{i}', ConvNormAct(in_channels, out_channels, 3, bias=True, **conv))
            in_channels = out_channels
