"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .csp_densenet import CSPDenseNet
from .darknet import Darknet
from .densenet import DenseNet
from .fpn import FPNTrunk
from .vgg import VGG

__all__ = [
    'VGG',
    'Backbone',
    'CSPDarknet',
    'CSPDarknetFocus',
    'CSPDenseNet',
    'Darknet',
    'DenseNet',
    'FPNTrunk',
    'Stage',
]
