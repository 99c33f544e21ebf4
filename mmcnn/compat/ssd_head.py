"""Makes MMDetection's SSDHead able to predict.

Its base class asks ``self.loss_cls`` for ``custom_cls_channels`` before it uses scores, but SSDHead, whose loss is a
function, has no such attribute: every SSD of MMDetection 3.3.0 fails at its first prediction with ``'SSDHead' object
has no attribute 'loss_cls'``.
"""

import sys


def install() -> None:
    """Give the class such an attribute without any entry, once; its module has been imported."""
    head = sys.modules['mmdet.models.dense_heads.ssd_head'].SSDHead  # an import would wait for mmdet.models
    if not hasattr(head, 'loss_cls'):
        head.loss_cls = None
