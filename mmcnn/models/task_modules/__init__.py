"""Assigners and box coders."""

from .yolo_assigners import LevelTargets, RatioAssigner, ShapeIoUAssigner
from .yolo_bbox_coder import LevelOutput, YOLOGridCoder

__all__ = ['LevelOutput', 'LevelTargets', 'RatioAssigner', 'ShapeIoUAssigner', 'YOLOGridCoder']
