"""Assigners, samplers and box coders."""

from .delta_bbox_coder import DeltaXYWHBBoxCoder
from .iou_assigners import BboxOverlaps2D, GridAssigner, MaxIoUAssigner
from .samplers import RandomSampler
from .torchvision_anchors import TorchvisionAnchorGenerator
from .yolo_assigners import LevelTargets, RatioAssigner, ShapeIoUAssigner
from .yolo_bbox_coder import DarknetBBoxCoder, LevelOutput, YOLOGridCoder

__all__ = [
    'BboxOverlaps2D',
    'DarknetBBoxCoder',
    'DeltaXYWHBBoxCoder',
    'GridAssigner',
    'LevelOutput',
    'LevelTargets',
    'MaxIoUAssigner',
    'RandomSampler',
    'RatioAssigner',
    'ShapeIoUAssigner',
    'TorchvisionAnchorGenerator',
    'YOLOGridCoder',
]
