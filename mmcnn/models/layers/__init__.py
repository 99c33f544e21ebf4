"""Layers that at least two families or necks share."""

from .conv import ConvNormAct, build_norm
from .csp import C3, DarknetBottleneck
from .focus import Focus
from .padding import SameConv2d, SameMaxPool2d, max_pool
from .residual import BasicBlock, Bottleneck, ResidualStage
from .scaling import scale_channels, scale_depth
from .spp import SPP, PyramidPool
from .squeeze_excite import SqueezeExcite

__all__ = [
    'C3',
    'SPP',
    'BasicBlock',
    'Bottleneck',
    'ConvNormAct',
    'DarknetBottleneck',
    'Focus',
    'PyramidPool',
    'ResidualStage',
    'SameConv2d',
    'SameMaxPool2d',
    'SqueezeExcite',
    'build_norm',
    'max_pool',
    'scale_channels',
    'scale_depth',
]
