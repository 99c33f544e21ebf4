"""Layers that at least two families or necks share."""

from .conv import ConvNormAct, build_norm
from .csp import C3, DarknetBottleneck
from .dense import DenseBlock, NormAct, Transition
from .focus import Focus
from .padding import SameConv2d, SameMaxPool2d, max_pool
from .plain import PlainStage
from .scaling import scale_channels, scale_depth
from .spp import SPP, PyramidPool
from .squeeze_excite import SqueezeExcite

__all__ = [
    'C3',
    'SPP',
    'ConvNormAct',
    'DarknetBottleneck',
    'DenseBlock',
    'Focus',
    'NormAct',
    'PlainStage',
    'PyramidPool',
    'SameConv2d',
    'SameMaxPool2d',
    'SqueezeExcite',
    'Transition',
    'build_norm',
    'max_pool',
    'scale_channels',
    'scale_depth',
]
