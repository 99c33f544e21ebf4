"""The version of mmcnn."""

__version__ = '0.2.0'
