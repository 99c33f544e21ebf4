"""Necks that MMDetection does not have (FPN and YOLOV3Neck are its own)."""

from .yolo_v4_pan import YOLOv4PAN

__all__ = ['YOLOv4PAN']
