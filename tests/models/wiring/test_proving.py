"""A forward pass of the whole detector before its first step."""

import pytest
import torch

from mmcnn.errors import UsageError
from mmcnn.models.wiring import prove, wire
from mmcnn.models.wiring.slots import Slot, slots
from tests.wired_models import faster_rcnn, retinanet, yolov4


def two_stages():
    """A Faster R-CNN that can predict."""
    nms = dict(type='nms', iou_threshold=0.5)
    test_cfg = dict(
        rpn=dict(nms_pre=9, max_per_img=9, nms=nms, min_bbox_size=0), rcnn=dict(score_thr=0.05, nms=nms, max_per_img=9)
    )
    return faster_rcnn(test_cfg=test_cfg)


@pytest.mark.parametrize('model', [yolov4(widen_factor=0.25), retinanet(), two_stages()])
def test_what_fits_is_proven_without_a_change_to_random_state(model):
    wired = wire(model)
    before = repr(wired)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert prove(wired) == [] and repr(wired) == before
    assert torch.equal(torch.rand(3), expected)


def test_single_stage_detectors_are_proven_without_memory(monkeypatch):
    from mmcnn.models.wiring import proving

    def on_cpu(model, device, mode, side, runs=proving._runs):
        assert device == 'meta'
        return runs(model, device, mode, side)

    monkeypatch.setattr(proving, '_runs', on_cpu)
    assert prove(wire(retinanet())) == []


def test_a_misfit_behind_the_proposals_is_named():
    """The wrong number describes the RoI extractor's output and not the maps."""
    model = wire(two_stages())
    model.roi_head.bbox_head.roi_feat_size = 5
    with pytest.raises(UsageError, match=r'the model fails at roi_head\.bbox_head\.shared_fcs\.0: .*multiplied'):
        prove(model)


@pytest.mark.slow
def test_a_misfit_of_a_dense_head_is_named():
    model = wire(retinanet())
    model.bbox_head.in_channels = 17
    with pytest.raises(UsageError, match=r'the model fails at bbox_head\.cls_convs\.0\.conv: .*channels'):
        prove(model)


def test_a_part_that_cannot_be_built_is_refused_before_the_run():
    model = wire(retinanet())
    model.bbox_head.loss_cls = dict(type='CrossEntropyLoss', use_sigmoid=True, use_mask=True)  # both is an error
    with pytest.raises(UsageError, match='the model fails at its construction'):
        prove(model)


def test_a_package_that_is_missing_is_named_in_one_sentence(monkeypatch):
    """BoxInst's message has a line break."""
    from mmdet.models.data_preprocessors import data_preprocessor

    monkeypatch.setattr(data_preprocessor, 'skimage', None)
    model = wire(retinanet(data_preprocessor=dict(type='BoxInstDataPreprocessor')))
    words = r'the model fails at its construction: skimage is not installed, please install it by: pip install '
    with pytest.raises(UsageError, match=f'^{words}scikit-image$'):
        prove(model)


def test_what_is_not_understood_is_said(monkeypatch):
    from mmdet.models.dense_heads import RetinaHead

    def broken(self, x):
        raise TypeError('a text is needed')

    monkeypatch.setattr(RetinaHead, 'forward', broken)
    assert prove(wire(retinanet())) == ['not proven before the first step: bbox_head (a text is needed)']


def test_every_number_has_an_address():
    walked = [each for each in slots(wire(faster_rcnn())) if isinstance(each, Slot)]
    assert {f'{each.where}.{each.key}' for each in walked} == {
        'neck.in_channels',
        'rpn_head.in_channels',
        'rpn_head.anchor_generator.strides',
        'roi_head.bbox_roi_extractor.out_channels',
        'roi_head.bbox_roi_extractor.featmap_strides',
        'roi_head.bbox_head.in_channels',
    }
