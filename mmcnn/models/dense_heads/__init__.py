"""Detection heads that MMDetection lacks, and versions of its heads that process all images of a batch at once."""

from .darknet_yolov3_head import DarknetYOLOV3Head
from .rpn_head import RPNHead
from .yolo_head import YOLOHead
from .yolov3_head import YOLOV3Head

__all__ = ['DarknetYOLOV3Head', 'RPNHead', 'YOLOHead', 'YOLOV3Head']
