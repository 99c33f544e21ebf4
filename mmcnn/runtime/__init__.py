"""Detectors that ``mmcnn export`` made, without PyTorch: NumPy, OpenCV and ONNX Runtime are all that is needed."""
