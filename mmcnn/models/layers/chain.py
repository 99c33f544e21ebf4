"""Chains of convolutions and pools that fork and join again, built from tables: Inception's figures as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from .conv import ConvNormAct
from .padding import max_pool


@dataclass(frozen=True)
class Conv:
    """A convolution with its normalisation and activation."""

    channels: int  # of its output
    kernel: int | tuple[int, int] = 1  # side, or (height, width)
    stride: int = 1
    valid: bool = False  # at stride 1: padded as the network's reductions are ('V' in the papers' figures)


@dataclass(frozen=True)
class MaxPool:
    """3x3 of stride 2, padded as the network's reductions are."""


@dataclass(frozen=True)
class AveragePool:
    """3x3 of stride 1, over the pixels inside the map."""


#: One after another. A tuple in a chain is a fork: chains from the same input, their outputs concatenated.
ChainTable: TypeAlias = 'tuple[Conv | MaxPool | AveragePool | tuple[ChainTable, ...], ...]'


def chain_channels(table: ChainTable, in_channels: int) -> int:
    """Channels of a chain's output."""
    for layer in table:
        match layer:
            case Conv():
                in_channels = layer.channels
            case tuple():
                in_channels = sum(chain_channels(branch, in_channels) for branch in layer)
    return in_channels


def widen_chain(table: ChainTable, width: Callable[[int], int]) -> ChainTable:
    """The table with ``width`` applied to the channels of each convolution."""

    def widen(layer):
        match layer:
            case Conv():
                return replace(layer, channels=width(layer.channels))
            case tuple():
                return tuple(widen_chain(branch, width) for branch in layer)
        return layer

    return tuple(widen(layer) for layer in table)


class Chain(nn.Sequential):
    """The layers of a table: (N, C_in, H, W) to (N, C_out, ceil(H/s), ceil(W/s)); smaller where ``padding`` is 'valid'.

    Args:
        padding: of all layers of stride 2, and of the convolutions marked ``valid``: 'same' or 'valid'. Other layers
            keep the size of the map.
    """

    def __init__(self, in_channels: int, table: ChainTable, padding: str = 'same', **conv: object) -> None:
        super().__init__()
        for layer in table:
            match layer:
                case Conv(channels, kernel, stride, valid):
                    pad = padding if stride > 1 or valid else 'same'
                    module = ConvNormAct(in_channels, channels, kernel, stride, padding=pad, **conv)
                case MaxPool():
                    module = max_pool(3, 2, padding)
                case AveragePool():
                    module = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
                case tuple():
                    module = Fork(Chain(in_channels, branch, padding, **conv) for branch in layer)
            self.append(module)
            in_channels = chain_channels((layer,), in_channels)


class Fork(nn.ModuleList):
    """Branches from one input, their outputs concatenated: (N, C_in, H, W) to (N, sum of the C_i, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)
