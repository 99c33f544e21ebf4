"""The number of classes, wherever a config has it."""

from mmcnn.models.wiring import set_num_classes, wire
from tests.wired_models import faster_rcnn


def test_class_counts_are_set_wherever_they_are():
    cfg = wire(faster_rcnn())
    cfg.roi_head.bbox_head = [cfg.roi_head.bbox_head, dict(num_classes=9)]
    set_num_classes(cfg, 5)
    assert [head['num_classes'] for head in cfg.roi_head.bbox_head] == [5, 5] and 'num_classes' not in cfg.rpn_head
