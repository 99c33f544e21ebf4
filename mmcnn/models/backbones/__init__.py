"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus, CSPDarknetV6
from .csp_resnet import CSPResNet
from .darknet import Darknet
from .resnet_v2 import ResNetV2
from .xception import Xception

__all__ = [
    'Backbone',
    'CSPDarknet',
    'CSPDarknetFocus',
    'CSPDarknetV6',
    'CSPResNet',
    'Darknet',
    'ResNetV2',
    'Stage',
    'Xception',
]
