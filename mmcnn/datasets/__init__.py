"""Data: transforms, the embedded demo data and the reading of users' folders."""

from mmcnn.datasets.class_folder import ClassData, ClassFolder, read_class_folder
from mmcnn.datasets.coco_folder import CocoFolder, DataError, read_coco_folder
from mmcnn.datasets.mosaic_dataset import MosaicDataset
from mmcnn.datasets.shapes import make_shape_classes, make_shapes
from mmcnn.datasets.transforms import (
    DarknetHSV,
    DarknetMosaic,
    LetterBox,
    MosaicAffine,
    PackClassifierInputs,
    RandomHSV,
    RandomResizedCrop,
    ResizedCenterCrop,
)

__all__ = [
    'ClassData',
    'ClassFolder',
    'CocoFolder',
    'DarknetHSV',
    'DarknetMosaic',
    'DataError',
    'LetterBox',
    'MosaicAffine',
    'MosaicDataset',
    'PackClassifierInputs',
    'RandomHSV',
    'RandomResizedCrop',
    'ResizedCenterCrop',
    'make_shape_classes',
    'make_shapes',
    'read_class_folder',
    'read_coco_folder',
]
