"""The measurements of ``mmcnn benchmark``."""
