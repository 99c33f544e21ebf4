"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .darknet import Darknet
from .efficientnet import EfficientNet
from .mobilenet_v1 import MobileNetV1
from .mobilenet_v2 import MobileNetV2
from .mobilenet_v3 import MobileNetV3

__all__ = [
    'Backbone',
    'CSPDarknet',
    'CSPDarknetFocus',
    'Darknet',
    'EfficientNet',
    'MobileNetV1',
    'MobileNetV2',
    'MobileNetV3',
    'Stage',
]
