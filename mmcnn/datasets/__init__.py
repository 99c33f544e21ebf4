"""Data: folders and their readers, checks of their content, mosaics, transforms, anchors.

``folders`` knows the layouts. ``check`` builds on it, ``mosaic`` on ``transforms``; these two are independent. Only
:mod:`mmcnn.image_file` reads image files.
"""

from mmcnn.datasets.check.detector import check_data
from mmcnn.datasets.check.report import DataReport, DetectorData
from mmcnn.datasets.folders.classes import ClassData, ClassFolder, read_class_folder
from mmcnn.datasets.folders.findings import Finding
from mmcnn.datasets.folders.shapes import make_shape_classes, make_shapes
from mmcnn.datasets.mosaic.close_mosaic_hook import CloseMosaicHook
from mmcnn.datasets.mosaic.darknet_mosaic import DarknetMosaic
from mmcnn.datasets.mosaic.mosaic_affine import MosaicAffine
from mmcnn.datasets.mosaic.mosaic_dataset import MosaicDataset
from mmcnn.datasets.transforms import (
    DarknetHSV,
    LetterBox,
    PackClassifierInputs,
    RandomHSV,
    RandomResizedCrop,
    ResizedCenterCrop,
)
from mmcnn.engine.seeded_dataset import KeyedBatchSampler, SeededDataset
from mmcnn.errors import DataError

__all__ = [
    'ClassData',
    'ClassFolder',
    'CloseMosaicHook',
    'DarknetHSV',
    'DarknetMosaic',
    'DataError',
    'DataReport',
    'DetectorData',
    'Finding',
    'KeyedBatchSampler',
    'LetterBox',
    'MosaicAffine',
    'MosaicDataset',
    'PackClassifierInputs',
    'RandomHSV',
    'RandomResizedCrop',
    'ResizedCenterCrop',
    'SeededDataset',
    'check_data',
    'make_shape_classes',
    'make_shapes',
    'read_class_folder',
]
