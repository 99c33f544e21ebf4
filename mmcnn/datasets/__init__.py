"""Data: transforms, the embedded demo data and the reading of users' folders."""

from mmcnn.datasets.class_folder import ClassData, ClassFolder, read_class_folder
from mmcnn.datasets.close_mosaic_hook import CloseMosaicHook
from mmcnn.datasets.data_check import check_data
from mmcnn.datasets.data_report import DataReport, DetectorData
from mmcnn.datasets.findings import Finding
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
