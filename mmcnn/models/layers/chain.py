"""Chains of convolutions and pools that fork and join, built from tables: Inception's figures as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from torch import Tensor, nn

from .concat import concatenate
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
    """A max-pool; at stride 2 it is padded as the network's reductions are."""

    kernel: int = 3
    stride: int = 2


@dataclass(frozen=True)
class AveragePool:
    """A 3x3 average pool of stride 1."""


@dataclass(frozen=True)
class LocalNorm:
    """Local response normalisation, with AlexNet's constants in Caffe's form: 5 channels, alpha 1e-4, beta 0.75."""


#: Layers in sequence. A tuple inside a chain is a fork: chains on the same input, their outputs concatenated.
ChainTable: TypeAlias = 'tuple[Conv | MaxPool | AveragePool | LocalNorm | tuple[ChainTable, ...], ...]'


def chain_channels(table: ChainTable, in_channels: int) -> int:
    """Return the number of channels of a chain's output."""
    for layer in table:
        match layer:
            case Conv():
                in_channels = layer.channels
            case tuple():
                in_channels = sum(chain_channels(branch, in_channels) for branch in layer)
    return in_channels


def widen_chain(table: ChainTable, width: Callable[[int], int]) -> ChainTable:
    """Return the table with ``width`` applied to the channels of each convolution."""

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
        padding: of all layers of stride 2, and of the convolutions marked ``valid``: 'same', 'valid', or None, which is
            'same' with half the kernel on each side in the convolutions. Other layers keep the size of the map.
        count_padding: whether the average pools count the zeros around the map.
        conv: arguments of each :class:`~mmcnn.models.layers.conv.ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        table: ChainTable,
        padding: str | None = 'same',
        count_padding: bool = False,
        **conv: object,
    ) -> None:
        super().__init__()
        for layer in table:
            match layer:
                case Conv(channels, kernel, stride, valid):
                    pad = padding if stride > 1 or valid else 'same'
                    module = ConvNormAct(in_channels, channels, kernel, stride, padding=pad, **conv)
                case MaxPool(kernel, 1):
                    module = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)
                case MaxPool(kernel, stride):
                    module = max_pool(kernel, stride, padding or 'same')
                case AveragePool():
                    module = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=count_padding)
                case LocalNorm():
                    module = nn.LocalResponseNorm(5)
                case tuple():
                    module = Fork(Chain(in_channels, branch, padding, count_padding, **conv) for branch in layer)
            self.append(module)
            in_channels = chain_channels((layer,), in_channels)


class Fork(nn.ModuleList):
    """Branches from one input, their outputs concatenated: (N, C_in, H, W) to (N, sum of the C_i, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, sum of the C_i, H', W')."""
        return concatenate([branch(x) for branch in self])
