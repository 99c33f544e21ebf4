"""Transforms of one image and its boxes for MMDetection's pipelines, and crops for classifiers."""

from mmcnn.compat.moved import moved_names
from mmcnn.datasets.transforms.crops import RandomResizedCrop, ResizedCenterCrop
from mmcnn.datasets.transforms.letterbox import LetterBox
from mmcnn.datasets.transforms.pack_classifier_inputs import PackClassifierInputs
from mmcnn.datasets.transforms.random_hsv import DarknetHSV, RandomHSV

__all__ = [
    'DarknetHSV',
    'LetterBox',
    'PackClassifierInputs',
    'RandomHSV',
    'RandomResizedCrop',
    'ResizedCenterCrop',
]

__getattr__ = moved_names(__name__)
