"""Layers that at least two families or necks share."""

from .conv import ConvNormAct
from .csp import C3, DarknetBottleneck
from .focus import Focus
from .scaling import scale_channels, scale_depth
from .spp import SPP, PyramidPool

__all__ = ['C3', 'SPP', 'ConvNormAct', 'DarknetBottleneck', 'Focus', 'PyramidPool', 'scale_channels', 'scale_depth']
