"""Transforms of images and boxes for MMDetection's pipelines, mosaics for MosaicDataset; crops for classifiers."""

from mmcnn.datasets.transforms.crops import RandomResizedCrop, ResizedCenterCrop
from mmcnn.datasets.transforms.darknet_mosaic import DarknetMosaic
from mmcnn.datasets.transforms.letterbox import LetterBox
from mmcnn.datasets.transforms.mosaic_affine import MosaicAffine
from mmcnn.datasets.transforms.pack_classifier_inputs import PackClassifierInputs
from mmcnn.datasets.transforms.random_hsv import DarknetHSV, RandomHSV

__all__ = [
    'DarknetHSV',
    'DarknetMosaic',
    'LetterBox',
    'MosaicAffine',
    'PackClassifierInputs',
    'RandomHSV',
    'RandomResizedCrop',
    'ResizedCenterCrop',
]
