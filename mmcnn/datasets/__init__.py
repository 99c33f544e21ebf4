"""Data: transforms, the embedded demo data and the reading of users' folders."""

from mmcnn.datasets.coco_folder import CocoFolder, DataError, read_coco_folder
from mmcnn.datasets.shapes import make_shapes
from mmcnn.datasets.transforms import DarknetHSV, DarknetMosaic, LetterBox, MosaicAffine, RandomHSV

__all__ = [
    'CocoFolder',
    'DarknetHSV',
    'DarknetMosaic',
    'DataError',
    'LetterBox',
    'MosaicAffine',
    'RandomHSV',
    'make_shapes',
    'read_coco_folder',
]
