"""Detection heads that MMDetection does not have."""

from .yolo_head import YOLOHead

__all__ = ['YOLOHead']
