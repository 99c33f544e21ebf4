"""Assigners and box coders."""

from .yolo_assigners import LevelTargets, RatioAssigner, ShapeIoUAssigner
from .yolo_bbox_coder import YOLOGridCoder

__all__ = ['LevelTargets', 'RatioAssigner', 'ShapeIoUAssigner', 'YOLOGridCoder']
