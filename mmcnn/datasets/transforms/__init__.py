"""Transforms of images and boxes, each a drop-in for MMDetection's pipelines."""

from mmcnn.datasets.transforms.darknet_mosaic import DarknetMosaic
from mmcnn.datasets.transforms.letterbox import LetterBox
from mmcnn.datasets.transforms.mosaic_affine import MosaicAffine
from mmcnn.datasets.transforms.random_hsv import DarknetHSV, RandomHSV

__all__ = ['DarknetHSV', 'DarknetMosaic', 'LetterBox', 'MosaicAffine', 'RandomHSV']
