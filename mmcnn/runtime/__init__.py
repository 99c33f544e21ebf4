"""Detectors made by ``mmcnn export``, without PyTorch: only NumPy, OpenCV and ONNX Runtime are needed."""

from mmcnn.runtime.detector import Detector

__all__ = ['Detector']
