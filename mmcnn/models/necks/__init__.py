"""Necks that MMDetection does not have (FPN and YOLOV3Neck are its own)."""

from .extra_max_pools import ExtraMaxPools
from .yolo_v4_pan import YOLOv4PAN
from .yolo_v5_pafpn import YOLOv5PAFPN

__all__ = ['ExtraMaxPools', 'YOLOv4PAN', 'YOLOv5PAFPN']
