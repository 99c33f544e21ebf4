"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .darknet import Darknet
from .timm_backbone import TimmBackbone

__all__ = ['Backbone', 'CSPDarknet', 'CSPDarknetFocus', 'Darknet', 'Stage', 'TimmBackbone']
