"""The region proposal network against MMDetection's: weights, losses, random numbers and proposals."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from tests.mmdet_heads import assert_same

SIZE, STRIDES = (96, 64), (8, 16, 32)
METAS = [
    dict(img_shape=(96 - 20 * i, 64 - 3 * i), pad_shape=(96 - 16 * i, 64), scale_factor=(0.5 + i / 7, 0.3))
    for i in range(3)
]
TEST = dict(nms_pre=100, max_per_img=60, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
ASSIGNER = dict(
    type='mmcnn.MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True,
    ignore_iof_thr=-1,
)  # fmt: skip
SAMPLER = dict(type='mmcnn.RandomSampler', num=64, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
TRAIN = dict(assigner=ASSIGNER, sampler=SAMPLER, allowed_border=-1, pos_weight=-1, debug=False)


def head(ours=True, softmax=False, train=None, coder=None, **test):
    scope = 'mmcnn.' if ours else ''
    loss = dict(type='CrossEntropyLoss', use_sigmoid=not softmax)
    anchors = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=STRIDES)
    cfg = dict(
        type=f'{scope}RPNHead', in_channels=4, feat_channels=4, anchor_generator=anchors, loss_cls=loss,
        bbox_coder=dict(type=f'{scope}DeltaXYWHBBoxCoder', **(coder or {})), train_cfg={**TRAIN, **(train or {})},
        test_cfg={**TEST, **test}, _scope_='mmdet',
    )  # fmt: skip
    return MODELS.build(ConfigDict(cfg))


def maps(spread=1.0, channels=1, images=3):
    torch.manual_seed(0)
    sizes = [(SIZE[0] // s, SIZE[1] // s) for s in STRIDES]
    scores = [spread * torch.randn(images, 3 * channels, *size) for size in sizes]
    return scores, [0.3 * torch.randn(images, 12, *size) for size in sizes]


CASES = {
    'as configured': {},
    'all anchors': dict(nms_pre=-1, max_per_img=1000),
    'large ones only': dict(min_bbox_size=30),
    'none': dict(min_bbox_size=1000),
    'of any size': dict(min_bbox_size=-1),
    'all levels together': dict(nms=dict(iou_threshold=0.7, class_agnostic=True)),
    'another suppression': dict(nms=dict(type='nms', iou_threshold=0.7, offset=1)),
}


@pytest.mark.parametrize('case', CASES)
def test_proposals_are_mmdetections(case, way):
    for rescale, spread in ((False, 1.0), (False, 4.0), (True, 1.0)):
        found, expected = (
            each.predict_by_feat(*maps(spread), None, METAS, rescale=rescale)
            for each in (head(**CASES[case]), head(False, **CASES[case]))
        )
        assert_same(found, expected)
        assert all(not each.labels.any() and each.labels.dtype == torch.long for each in found)
    assert (len(found[0]) == 0) == (case == 'none')


@pytest.mark.parametrize('coder', [dict(clip_border=False), dict(add_ctr_clamp=True, ctr_clamp=3)])
def test_proposals_of_a_coder_with_other_settings(coder):
    found, expected = (
        each.predict_by_feat(*maps(), None, METAS) for each in (head(coder=coder), head(False, coder=coder))
    )
    assert_same(found, expected)


def test_scores_by_softmax():
    scores = maps(channels=2)
    assert_same(*(each.predict_by_feat(*scores, None, METAS) for each in (head(softmax=True), head(False, True))))


def test_half_precision_is_computed_in_float32():
    half = [[each.half() for each in part] for part in maps()]
    found = head().predict_by_feat(*half, None, METAS)
    assert found[0].bboxes.dtype == torch.float32
    assert_same(found, head().predict_by_feat(*[[each.float() for each in part] for part in half], None, METAS))


def objects(*counts):
    generator = torch.Generator().manual_seed(1)
    for count in counts:
        corners = torch.rand(count, 2, generator=generator) * 40
        sides = torch.rand(count, 2, generator=generator) * 30 + 8
        yield InstanceData(bboxes=torch.cat([corners, corners + sides], 1), labels=torch.zeros(count).long())


@pytest.mark.parametrize(
    'train', [{}, dict(pos_weight=2.0), dict(allowed_border=0), dict(sampler=dict(SAMPLER, num=100000))]
)
@pytest.mark.parametrize('padded', [True, False])
def test_losses_are_mmdetections(train, padded, way):
    """With images of one size and with padded ones; one image has no objects."""
    metas = METAS if padded else [dict(each, pad_shape=SIZE) for each in METAS]
    losses, left = [], []
    for ours in (True, False):
        torch.manual_seed(7)
        losses.append(head(ours, train=train).loss_by_feat(*maps(), [*objects(4, 0, 2)], metas))
        left.append(torch.rand(1))
    assert torch.equal(*left)  # equally many random numbers were drawn
    assert losses[0].keys() == losses[1].keys()
    for name, found in losses[0].items():
        assert all(map(torch.equal, found, losses[1][name])), name


def test_images_without_an_anchor_are_refused():
    with pytest.raises(ValueError, match='no valid anchor'):
        head().loss_by_feat(*maps(), [*objects(4, 0, 2)], [dict(each, pad_shape=(0, 0)) for each in METAS])


def test_weights_have_mmdetections_names():
    assert list(head().state_dict()) == list(head(False).state_dict())
