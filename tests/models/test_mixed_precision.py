"""Networks that predict in mixed precision: the numbers of autocast, weights stored once, boxes in float32."""

import copy

import pytest
import torch
from mmdet.models.dense_heads import DETRHead, GFLHead
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from torch import nn

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.deployment.random_weights import spread
from mmcnn.models.fuse import fold, fuse
from mmcnn.models.mixed_precision import predict_boxes_in_float32, use_mixed_precision
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS

BF16 = torch.bfloat16
NARROW = dict(widen_factor=0.125, deepen_factor=0.33)
GFL = dict(
    type='mmcnn.wired',
    detector='GFL',
    backbone=dict(type='mmcnn.vovnet27-slim', out_indices=(3, 4, 5), widen_factor=0.25),
    neck=dict(type='FPN', out_channels=32, add_extra_convs='on_output', num_outs=5),
    bbox_head=dict(
        type='GFLHead',
        num_classes=3,
        stacked_convs=1,
        feat_channels=32,
        reg_max=16,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1),
        loss_cls=dict(type='QualityFocalLoss'),
        loss_dfl=dict(type='DistributionFocalLoss'),
        loss_bbox=dict(type='GIoULoss'),
    ),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
)


def built(config):
    """A narrow detector whose outputs depend on the image, with statistics that BatchNorm could have measured."""
    model = load_config(config).model if isinstance(config, str) else copy.deepcopy(config)
    if isinstance(config, str):
        for part in ('backbone', 'neck'):
            known = {key: value for key, value in NARROW.items() if key in model[part] or part == 'backbone'}
            model[part].update(known)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(wire(model))
    spread(detector, torch.randn(2, 3, 128, 128))
    return detector.eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))


def samples(images):
    height, width = images.shape[2:]
    meta = dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (height, width))
    return [DetDataSample(metainfo={**meta, 'scale_factor': (1.0, 1.0)}) for _ in images]


def maps(model, images):
    return model(images, mode='tensor')[0]


def error(found, expected):
    """The root of the mean squared difference, as a share of the expected values'."""
    found, expected = (torch.cat([each.flatten().float() for each in maps]) for maps in (found, expected))
    return float((found - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize('config', ['yolov5_n', 'yolov4_cspdarknet53_narrow', 'yolov3_darknet53'])
def test_the_error_is_that_of_autocast(config, images):
    model = built(config)
    expected = maps(model, images)
    with torch.autocast('cpu', BF16):
        usual = maps(fold(model), images)
    mixed = fuse(model)
    use_mixed_precision(mixed, BF16)
    found = maps(mixed, images)
    assert 1e-4 < error(found, expected) < 1.2 * error(usual, expected) < 0.2


@torch.no_grad()
def test_weights_are_stored_once_and_those_of_other_heads_stay(images):
    ours, theirs = fuse(built('yolov5_n')), fuse(built(GFL))
    use_mixed_precision(ours, BF16)
    use_mixed_precision(theirs, BF16)
    assert dtypes_of(ours) == {'backbone': {BF16}, 'neck': {BF16}, 'bbox_head': {BF16}}
    assert dtypes_of(theirs) == {'backbone': {BF16}, 'neck': {BF16}, 'bbox_head': {torch.float32}}


def dtypes_of(model):
    return {
        part: {layer.weight.dtype for layer in network.modules() if isinstance(layer, nn.Conv2d)}
        for part, network in model.named_children()
        if part != 'data_preprocessor'
    }


@torch.no_grad()
def test_a_head_computes_boxes_in_float32(images, monkeypatch):
    """GFL's boxes are means over 17 positions, by a product that autocast would compute in bfloat16."""
    model, seen = fuse(built(GFL)), []
    predict = GFLHead.predict_by_feat

    def observed(self, *maps, **kwargs):
        seen.append(({each.dtype for level in maps for each in level}, torch.is_autocast_enabled('cpu')))
        return predict(self, *maps, **kwargs)

    monkeypatch.setattr(GFLHead, 'predict_by_feat', observed)
    plain = model(images, samples(images), mode='predict')
    use_mixed_precision(model, BF16)
    mixed = model(images, samples(images), mode='predict')
    assert seen == [({torch.float32}, False)] * 2
    for one, other in zip(plain, mixed, strict=True):
        assert len(one.pred_instances) == len(other.pred_instances) == 10
        assert other.pred_instances.bboxes.dtype == other.pred_instances.scores.dtype == torch.float32


@torch.no_grad()
def test_a_head_that_completes_boxes_in_forward_is_in_float32():
    """DETR's coordinates end in a sigmoid; in bfloat16 those above 0.5 would be multiples of 1/256."""
    model = nn.Sequential(DETRHead(num_classes=3, embed_dims=16)).eval()
    predict_boxes_in_float32(model)
    states = torch.randn(1, 2, 50, 16)
    expected = model[0](states)
    with torch.autocast('cpu', BF16):
        found = model[0](states)
        rounded = model[0](states.to(BF16))
    for one, other, third in zip(found, expected, rounded, strict=True):
        assert torch.equal(one, other) and third.dtype is torch.float32
    boxes = rounded[1]
    assert not torch.equal(boxes, boxes.to(BF16).float())
    with torch.autocast('cpu', BF16):
        assert model.train()[0](states)[0].dtype is BF16


def deformable_detr(refines, two_stages):
    attention = dict(embed_dims=256, num_heads=8, dropout=0.0)
    ffn = dict(embed_dims=256, feedforward_channels=64, num_fcs=2, ffn_drop=0.0)
    sampling = dict(embed_dims=256, num_heads=8, num_levels=2, dropout=0.0, batch_first=True)
    return dict(
        type='mmcnn.wired',
        detector='DeformableDETR',
        num_queries=12,
        num_feature_levels=2,
        with_box_refine=refines,
        as_two_stage=two_stages,
        backbone=dict(type='mmcnn.vovnet27-slim', out_indices=(4, 5), widen_factor=0.25),
        neck=dict(type='ChannelMapper', kernel_size=1, out_channels=256, act_cfg=None, num_outs=2),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=sampling, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=2,
            return_intermediate=True,
            layer_cfg=dict(self_attn_cfg=attention | dict(batch_first=True), cross_attn_cfg=sampling, ffn_cfg=ffn),
            post_norm_cfg=None,
        ),
        positional_encoding=dict(num_feats=128, normalize=True, offset=-0.5),
        bbox_head=dict(
            type='DeformableDETRHead', num_classes=3, embed_dims=256, loss_cls=dict(type='FocalLoss', use_sigmoid=True)
        ),
        test_cfg=dict(max_per_img=10),
    )


@torch.no_grad()
@pytest.mark.parametrize(('refines', 'two_stages'), [(False, False), (True, False), (True, True)])
def test_reference_points_of_detrs_are_in_float32(images, monkeypatch, refines, two_stages):
    """A box is a shift of its reference point, which in bfloat16 would be a multiple of 1/256 above 0.5."""
    model, seen = built(deformable_detr(refines, two_stages)), []
    nn.init.normal_(model.level_embed)  # MMDetection leaves it uninitialised until init_weights
    for branch in model.bbox_head.reg_branches:  # initially zero, so that nothing would be refined
        nn.init.normal_(branch[-1].weight, std=0.1)
    predict = type(model.bbox_head).forward

    def observed(self, hidden_states, references):
        seen.append(references)
        return predict(self, hidden_states, references)

    monkeypatch.setattr(type(model.bbox_head), 'forward', observed)
    expected = model(images, samples(images), mode='predict')
    use_mixed_precision(model, BF16)
    found = model(images, samples(images), mode='predict')
    for points, mixed in zip(*seen, strict=True):
        assert points.dtype is mixed.dtype is torch.float32
        assert (mixed == mixed.to(BF16).float()).float().mean() < 0.2
        # With two stages, the best positions are others if their scores are nearly equal.
        assert two_stages or (points - mixed).abs().mean() < 0.02
    for one, other in zip(expected, found, strict=True):
        assert len(one.pred_instances) == len(other.pred_instances) == 10


@torch.no_grad()
def test_boxes_of_two_stages(images):
    model = fuse(built('faster_rcnn_resnet50_fpn'))
    model.roi_head.test_cfg.score_thr = 0.0
    use_mixed_precision(model, BF16)
    assert {layer.weight.dtype for layer in model.roi_head.modules() if isinstance(layer, nn.Linear)} == {BF16}
    first, second = model(images, samples(images), mode='predict')
    for each in (first.pred_instances, second.pred_instances):
        assert each.bboxes.dtype == each.scores.dtype == torch.float32
        assert len(each) > 0 and each.bboxes.isfinite().all() and each.scores.isfinite().all()


@torch.no_grad()
def test_a_classifier(images):
    model = mmcnn.build_classifier('resnet50', num_classes=5, widen_factor=0.125).eval()
    measure_statistics(model, torch.rand(8, 3, 96, 128))
    expected = model(images)
    with torch.autocast('cpu', BF16):
        usual = fold(model)(images)
    mixed = fuse(model)
    use_mixed_precision(mixed, BF16)
    assert 1e-4 < error([mixed(images)], [expected]) < 1.2 * error([usual], [expected]) < 0.5
    (first, second) = mixed(images, mode='predict')
    assert first.pred_scores.dtype is torch.float32
    assert torch.stack([first.pred_scores, second.pred_scores]).sum(1).tolist() == pytest.approx([1, 1])


def measure_statistics(model, images):
    """Give BatchNorm the statistics of the images; with those at the start the output would hardly depend on them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(images)
    model.eval()


@torch.no_grad()
def test_a_copy_has_its_own_weights(images):
    model = fuse(built('yolov5_n'))
    use_mixed_precision(model, BF16)
    before = maps(model, images)
    copied = copy.deepcopy(model)
    for name, owner in (('forward', copied), ('predict_by_feat', copied.bbox_head)):
        assert getattr(owner, name).module is owner
    for parameter in copied.bbox_head.predictions.parameters():
        parameter.zero_()
    assert not any(each.any() for each in maps(copied, images))
    for one, other in zip(maps(model, images), before, strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_a_head_in_training_is_left_alone(images):
    model = built('yolov5_n')
    predict_boxes_in_float32(model)
    features = model.extract_feat(images)
    with torch.autocast('cpu', BF16):
        assert {each.dtype for each in model.bbox_head(features)[0]} == {torch.float32}
        assert {each.dtype for each in model.train().bbox_head(features)[0]} == {BF16}
