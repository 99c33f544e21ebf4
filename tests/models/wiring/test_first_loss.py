"""The loss on a drawn batch before the first step."""

import random

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmengine.logging import MessageHub

from mmcnn.compat.private_names import put_instances, taken_instances
from mmcnn.errors import UsageError
from mmcnn.models.wiring import Given, prove, prove_loss, wire
from mmcnn.models.wiring.first_loss import without_weights
from tests.wired_models import faster_rcnn, retinanet

ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
IMAGES = dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, pad_size_divisor=32, pad_mask=True)


def one_stage(**train_cfg):
    train_cfg = dict(dict(assigner=ASSIGNER, sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1,
                          debug=False), **train_cfg)  # fmt: skip
    return wire(retinanet(train_cfg=train_cfg, data_preprocessor=IMAGES))


def mask_rcnn(mask_size):
    """A Mask R-CNN whose mask head predicts 28 x 28 masks."""
    sampler = dict(type='RandomSampler', num=16, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=True)
    learns = dict(assigner=ASSIGNER, sampler=sampler, allowed_border=-1, pos_weight=-1, debug=False)
    nms = dict(type='nms', iou_threshold=0.7)
    proposals = dict(nms_pre=9, max_per_img=9, nms=nms, min_bbox_size=0)
    model = faster_rcnn(
        train_cfg=dict(rpn=learns, rpn_proposal=proposals, rcnn=dict(learns, mask_size=mask_size)),
        test_cfg=dict(rpn=proposals, rcnn=dict(score_thr=0.05, nms=nms, max_per_img=9, mask_thr_binary=0.5)),
        data_preprocessor=IMAGES,
    )
    extractor = dict(model['roi_head']['bbox_roi_extractor'])
    extractor['roi_layer'] = dict(type='RoIAlign', output_size=14, sampling_ratio=0)
    head = dict(type='FCNMaskHead', num_convs=1, conv_out_channels=8, num_classes=3)
    model['roi_head'] |= dict(mask_roi_extractor=extractor, mask_head=head)
    return wire(model)


def test_what_fits_is_proven_and_leaves_nothing_behind():
    model = one_stage()
    before = repr(model)
    kept = taken_instances(MessageHub)
    try:
        MessageHub.get_current_instance().update_info('iter', 7)
        hubs = [MessageHub.get_current_instance()]

        def drawn():
            torch.manual_seed(5), random.seed(5), np.random.seed(5)
            yield
            yield torch.rand(1).item(), random.random(), np.random.rand()

        first = drawn()
        next(first)
        expected = next(first)
        second = drawn()
        next(second)
        assert prove_loss(model, Given()) == []
        assert next(second) == expected and repr(model) == before
        assert [MessageHub.get_current_instance()] == hubs and hubs[0].get_info('iter') == 7
    finally:
        taken_instances(MessageHub)
        put_instances(MessageHub, kept)


def test_a_misfit_that_only_objects_show_is_refused():
    """Targets are 14 x 14 and masks 28 x 28; a forward pass without labels cannot find that."""
    assert prove_loss(mask_rcnn(28), Given(masks=True)) == []
    assert prove(mask_rcnn(14)) == []
    with pytest.raises(UsageError, match=r'the loss of the model fails at the first step: .*size'):
        prove_loss(mask_rcnn(14), Given(masks=True))


def test_what_the_data_lack_is_said():
    (line,) = prove_loss(mask_rcnn(28), Given())
    assert line.startswith('not proven before the first step: the loss (AttributeError: ') and 'masks' in line


@pytest.mark.parametrize(
    ('error', 'stride', 'refused'),
    [
        (RuntimeError('sizes must match'), None, True),
        (RuntimeError('sizes must match'), 1, False),  # the user's data may have another semantic map
        (TypeError('sizes must match'), None, False),
        (RuntimeError('a text is needed'), None, False),
    ],
)
def test_what_is_not_understood_is_said(error, stride, refused, monkeypatch):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(RetinaHead, 'loss_by_feat', broken)
    if refused:
        with pytest.raises(UsageError, match=r'first step: sizes must match$'):
            prove_loss(one_stage(), Given())
        return
    expected = f'not proven before the first step: the loss ({type(error).__name__}: {error})'
    assert prove_loss(one_stage(), Given(semantic_stride=stride)) == [expected]


def test_objects_are_where_their_masks_are(monkeypatch):
    seen = []

    def loss(self, inputs, samples):
        seen.extend(samples)
        return dict(loss=inputs.sum())

    monkeypatch.setattr('mmdet.models.detectors.RetinaNet.loss', loss)
    assert prove_loss(one_stage(), Given(masks=True, semantic_stride=8)) == [] and len(seen) == 2
    for sample in seen:
        found = sample.gt_instances.masks.get_bboxes('hbox').tensor
        assert torch.equal(found, sample.gt_instances.bboxes) and sample.img_shape == (128, 128)
        assert sample.gt_sem_seg.shape == (16, 16)


def test_what_cannot_be_built_is_said():
    model = one_stage()
    model.train_cfg.assigner.type = 'NobodysAssigner'
    (line,) = prove_loss(model, Given())
    assert 'NobodysAssigner' in line


def test_nothing_is_downloaded():
    pretrained = dict(type='Pretrained', checkpoint='https://example.org/weights.pth')
    drawn = dict(type='Normal', layer='Conv2d')
    model = dict(
        type='RetinaNet', pretrained='torchvision://resnet50', bbox_head=dict(type='RetinaHead', init_cfg=drawn),
        backbone=dict(type='mmcnn.TimmBackbone', model='resnet18', pretrained=True, init_cfg=pretrained),
    )  # fmt: skip
    found = without_weights(model)
    assert found.pretrained is found.backbone.pretrained is found.backbone.init_cfg is None
    assert found.bbox_head.init_cfg == drawn and model['backbone']['pretrained'] is True
