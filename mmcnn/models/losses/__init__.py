"""Losses of YOLO heads."""

from mmcnn.compat.moved import moved_names

from .iou_loss import bbox_iou
from .yolo_loss import DarknetLoss, YOLOMeanLoss

__all__ = ['DarknetLoss', 'YOLOMeanLoss', 'bbox_iou']
__getattr__ = moved_names(__name__)
