"""With mmcnn imported, MMDetection's SSDHead can predict."""

import torch
from mmdet.models.dense_heads import SSDHead
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from mmcnn.compat import ssd_head


def test_an_ssd_predicts():
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = SSDHead(
            num_classes=3,
            in_channels=[8],
            anchor_generator=dict(
                type='SSDAnchorGenerator', scale_major=False, strides=[8], ratios=[[2]], min_sizes=[9], max_sizes=[19]
            ),
            test_cfg=ConfigDict(
                nms=dict(type='nms', iou_threshold=0.5), min_bbox_size=0, score_thr=0, max_per_img=5, nms_pre=9
            ),
        )  # fmt: skip
    maps = head((torch.rand(1, 8, 8, 8),))
    found = head.predict_by_feat(*maps, batch_img_metas=[dict(img_shape=(64, 64), scale_factor=(1, 1))])
    assert len(found[0].bboxes) == 5


def test_a_head_with_a_loss_of_its_own_keeps_it(monkeypatch):
    monkeypatch.setattr(SSDHead, 'loss_cls', 'own', raising=False)
    ssd_head.install()
    assert SSDHead.loss_cls == 'own'
