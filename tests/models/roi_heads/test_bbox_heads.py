"""Faster R-CNN's box head against MMDetection's: weights, losses and detections."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from tests.mmdet_heads import assert_same

CLASSES = 4
METAS = [dict(img_shape=(90 - 20 * i, 60), scale_factor=(0.5 + i / 7, 0.3)) for i in range(3)]
TEST = dict(score_thr=0.3, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)


def head(ours=True, agnostic=False, **cfg):
    scope = 'mmcnn.' if ours else ''
    coder = dict(type=f'{scope}DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
    cfg = dict(
        type=f'{scope}Shared2FCBBoxHead', in_channels=2, fc_out_channels=4, roi_feat_size=1, num_classes=CLASSES,
        reg_class_agnostic=agnostic, bbox_coder=coder, _scope_='mmdet', **cfg,
    )  # fmt: skip
    return MODELS.build(ConfigDict(cfg))


def predictions(counts=(30, 0, 12), spread=2.0, agnostic=False):
    torch.manual_seed(0)
    corners = torch.rand(sum(counts), 2) * 50
    image = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).float()
    rois = torch.cat([image[:, None], corners, corners + torch.rand(sum(counts), 2) * 40 + 2], 1)
    scores = spread * torch.randn(sum(counts), CLASSES + 1)
    deltas = torch.randn(sum(counts), 4 if agnostic else 4 * CLASSES)
    return [each.split(counts) for each in (rois, scores, deltas)]


CASES = {
    'as configured': {},
    'all boxes': dict(score_thr=0.0, max_per_img=-1),
    'no boxes': dict(score_thr=1.0),
    'class by class': dict(nms=dict(type='nms', iou_threshold=0.5, split_thr=5)),
    'another suppression': dict(nms=dict(type='nms', iou_threshold=0.5, offset=1)),
}


@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('case', CASES)
def test_detections_are_mmdetections(case, agnostic, way):
    cfg = ConfigDict({**TEST, **CASES[case]})
    for rescale in (True, False):
        found, expected = (
            each.predict_by_feat(*predictions(agnostic=agnostic), METAS, cfg, rescale)
            for each in (head(agnostic=agnostic), head(False, agnostic))
        )
        assert_same(found, expected)
    assert (len(found[0]) == 0) == (case == 'no boxes') and len(found[1]) == 0


@pytest.mark.parametrize('agnostic', [False, True])
def test_a_batch_without_any_roi_has_no_detections(agnostic):
    given = predictions((0, 0, 0), agnostic=agnostic)
    found = head(agnostic=agnostic).predict_by_feat(*given, METAS, ConfigDict(TEST), True)
    assert_same(found, head(False, agnostic).predict_by_feat(*given, METAS, ConfigDict(TEST), True))


def test_without_a_cfg_all_boxes_are_given_for_test_time_augmentation():
    found, expected = (each.predict_by_feat(*predictions(), METAS, None, True) for each in (head(), head(False)))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.bboxes, theirs.bboxes) and torch.equal(ours.scores, theirs.scores)
    assert found[0].scores.shape == (30, CLASSES + 1)


def test_half_precision_is_computed_in_float32():
    rois, *others = predictions()
    half = [[each.bfloat16() for each in part] for part in others]
    found = head().predict_by_feat(rois, *half, METAS, ConfigDict(TEST))
    full = [[each.float() for each in part] for part in half]
    assert_same(found, head().predict_by_feat(rois, *full, METAS, ConfigDict(TEST)))


def test_weights_have_mmdetections_names():
    assert list(head().state_dict()) == list(head(False).state_dict())
