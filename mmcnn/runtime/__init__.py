"""Detectors that ``mmcnn export`` made, without PyTorch: NumPy, OpenCV and ONNX Runtime are all that is needed."""

from mmcnn.runtime.detector import Detector

__all__ = ['Detector']
