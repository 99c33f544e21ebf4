"""Necks that MMDetection does not have (FPN and YOLOV3Neck are its own)."""

from .yolo_v4_pan import YOLOv4PAN
from .yolo_v5_pafpn import YOLOv5PAFPN

__all__ = ['YOLOv4PAN', 'YOLOv5PAFPN']
