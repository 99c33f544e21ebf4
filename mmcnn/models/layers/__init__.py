"""Layers that at least two families or necks share."""

from .conv import ConvNormAct, build_norm
from .csp import C3, DarknetBottleneck
from .focus import Focus
from .inverted_residual import InvertedResidual
from .padding import SameConv2d, SameMaxPool2d, max_pool
from .scaling import make_divisible, scale_channels, scale_depth
from .spp import SPP, PyramidPool
from .squeeze_excite import SqueezeExcite

__all__ = [
    'C3',
    'SPP',
    'ConvNormAct',
    'DarknetBottleneck',
    'Focus',
    'InvertedResidual',
    'PyramidPool',
    'SameConv2d',
    'SameMaxPool2d',
    'SqueezeExcite',
    'build_norm',
    'make_divisible',
    'max_pool',
    'scale_channels',
    'scale_depth',
]
