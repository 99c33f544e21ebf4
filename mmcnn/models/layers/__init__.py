"""Layers that at least two families or necks share."""

from .branches import Branches
from .conv import ConvNormAct, build_norm
from .csp import C3, DarknetBottleneck
from .focus import Focus
from .padding import SameConv2d, SameMaxPool2d, max_pool
from .scaling import scale_channels, scale_depth, scale_rows
from .spp import SPP, PyramidPool
from .squeeze_excite import SqueezeExcite
from .upsample import doubled

__all__ = [
    'C3',
    'SPP',
    'Branches',
    'ConvNormAct',
    'DarknetBottleneck',
    'Focus',
    'PyramidPool',
    'SameConv2d',
    'SameMaxPool2d',
    'SqueezeExcite',
    'build_norm',
    'doubled',
    'max_pool',
    'scale_channels',
    'scale_depth',
    'scale_rows',
]
