"""Assigners and box coders."""

from .torchvision_anchors import TorchvisionAnchorGenerator
from .yolo_assigners import LevelTargets, RatioAssigner, ShapeIoUAssigner
from .yolo_bbox_coder import DarknetBBoxCoder, LevelOutput, YOLOGridCoder

__all__ = [
    'DarknetBBoxCoder',
    'LevelOutput',
    'LevelTargets',
    'RatioAssigner',
    'ShapeIoUAssigner',
    'TorchvisionAnchorGenerator',
    'YOLOGridCoder',
]
