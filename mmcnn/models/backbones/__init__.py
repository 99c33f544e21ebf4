"""Backbones, one family a file; importing this registers them all."""

from .base import Backbone, Stage
from .csp_darknet import CSPDarknet, CSPDarknetFocus
from .darknet import Darknet

__all__ = ['Backbone', 'CSPDarknet', 'CSPDarknetFocus', 'Darknet', 'Stage']
