"""The second stage of Faster R-CNN for all images of a batch at once."""

from .bbox_heads import Shared2FCBBoxHead
from .roi_extractors import SingleRoIExtractor

__all__ = ['Shared2FCBBoxHead', 'SingleRoIExtractor']
