"""Losses of YOLO heads."""

from .iou_loss import bbox_iou
from .yolo_loss import DarknetLoss, LevelOutput, YOLOMeanLoss

__all__ = ['DarknetLoss', 'LevelOutput', 'YOLOMeanLoss', 'bbox_iou']
