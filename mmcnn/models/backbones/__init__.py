"""Backbones, one family a file; importing this registers them all."""

from .backbone_with_neck import ResNetFPN
from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .darknet import Darknet
from .resnet import ResNet
from .resnext import ResNeXt

__all__ = ['Backbone', 'CSPDarknet', 'CSPDarknetFocus', 'Darknet', 'ResNeXt', 'ResNet', 'ResNetFPN', 'Stage']
