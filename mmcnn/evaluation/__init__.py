from .accuracy import TopK
from .coco_metric import CocoMetric

__all__ = ['CocoMetric', 'TopK']
