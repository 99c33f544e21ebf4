"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .darknet import Darknet
from .inception_resnet import InceptionResNet
from .inception_v4 import InceptionV4
from .vovnet import VoVNet

__all__ = ['Backbone', 'CSPDarknet', 'CSPDarknetFocus', 'Darknet', 'InceptionResNet', 'InceptionV4', 'Stage', 'VoVNet']
