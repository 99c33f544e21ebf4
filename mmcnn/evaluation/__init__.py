"""Metrics: COCO's average precision and top-k accuracy."""

from .accuracy import TopK
from .coco_metric import CocoMetric

__all__ = ['CocoMetric', 'TopK']
