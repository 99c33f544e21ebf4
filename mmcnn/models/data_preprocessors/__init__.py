"""Preprocessing of a batch before it enters the network."""

from .image_preprocessor import DetDataPreprocessor, ImgDataPreprocessor
from .plan_preprocessor import PlanPreprocessor

__all__ = ['DetDataPreprocessor', 'ImgDataPreprocessor', 'PlanPreprocessor']
