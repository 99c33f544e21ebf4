"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .darknet import Darknet
from .inception_resnet import InceptionResNet
from .inception_v1 import InceptionV1
from .inception_v2 import InceptionV2
from .inception_v3 import InceptionV3
from .inception_v4 import InceptionV4
from .timm_backbone import TimmBackbone
from .vovnet import VoVNet

__all__ = [
    'Backbone',
    'CSPDarknet',
    'CSPDarknetFocus',
    'Darknet',
    'InceptionResNet',
    'InceptionV1',
    'InceptionV2',
    'InceptionV3',
    'InceptionV4',
    'Stage',
    'TimmBackbone',
    'VoVNet',
]
