"""Layers that at least two families or necks share."""

from .chain import AveragePool, Chain, ChainTable, Conv, Fork, LocalNorm, MaxPool, chain_channels, widen_chain
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
    'AveragePool',
    'Chain',
    'ChainTable',
    'Conv',
    'ConvNormAct',
    'DarknetBottleneck',
    'Focus',
    'Fork',
    'LocalNorm',
    'MaxPool',
    'PyramidPool',
    'SameConv2d',
    'SameMaxPool2d',
    'SqueezeExcite',
    'build_norm',
    'chain_channels',
    'doubled',
    'max_pool',
    'scale_channels',
    'scale_depth',
    'scale_rows',
    'widen_chain',
]
