"""What happens to a batch before the network sees it."""

from .image_preprocessor import DetDataPreprocessor, ImgDataPreprocessor
from .plan_preprocessor import PlanPreprocessor

__all__ = ['DetDataPreprocessor', 'ImgDataPreprocessor', 'PlanPreprocessor']
