"""Detection heads that MMDetection does not have."""

from .darknet_yolov3_head import DarknetYOLOV3Head
from .yolo_head import YOLOHead

__all__ = ['DarknetYOLOV3Head', 'YOLOHead']
