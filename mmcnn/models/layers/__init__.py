"""Layers that at least two families or necks share."""

from .adaptive_pool import ExportableAdaptiveAvgPool2d
from .chain import AveragePool, Chain, ChainTable, Conv, Fork, LocalNorm, MaxPool, chain_channels, widen_chain
from .concat import concatenate
from .conv import ConvNormAct, build_norm
from .csp import C3, DarknetBottleneck, csp_transitions
from .dense import DenseBlock, NormAct, Transition
from .focus import Focus
from .inverted_residual import InvertedResidual
from .mish import Mish  # MMCV registers PyTorch's other activations, not this one
from .one_pass import OnePassConv2d
from .padding import SameConv2d, SameMaxPool2d, max_pool
from .plain import PlainStage
from .residual import BasicBlock, Bottleneck, ResidualStage
from .scaling import make_divisible, scale_channels, scale_depth, scale_rows
from .shortcut import add_shortcut
from .spp import SPP, PyramidPool
from .squeeze_excite import SqueezeExcite, channel_means
from .upsample import doubled

__all__ = [
    'C3',
    'SPP',
    'AveragePool',
    'BasicBlock',
    'Bottleneck',
    'Chain',
    'ChainTable',
    'Conv',
    'ConvNormAct',
    'DarknetBottleneck',
    'DenseBlock',
    'ExportableAdaptiveAvgPool2d',
    'Focus',
    'Fork',
    'InvertedResidual',
    'LocalNorm',
    'MaxPool',
    'Mish',
    'NormAct',
    'OnePassConv2d',
    'PlainStage',
    'PyramidPool',
    'ResidualStage',
    'SameConv2d',
    'SameMaxPool2d',
    'SqueezeExcite',
    'Transition',
    'add_shortcut',
    'build_norm',
    'chain_channels',
    'channel_means',
    'concatenate',
    'csp_transitions',
    'doubled',
    'make_divisible',
    'max_pool',
    'scale_channels',
    'scale_depth',
    'scale_rows',
    'widen_chain',
]
