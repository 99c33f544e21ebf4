"""Our backbones in MMDetection's detectors, and other backbones in ours, without a channel number in the config."""

import pytest

from mmcnn.config.load import load_config
from mmcnn.models.wiring import wire

PREPROCESSOR = dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True, pad_size_divisor=32)
TEST = dict(nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10)
BACKBONE = dict(type='mmcnn.vovnet27-slim', out_indices=(3, 4, 5), widen_factor=0.25)
FPN = dict(type='FPN', out_channels=32, add_extra_convs='on_output', num_outs=5)
HEAD = dict(num_classes=80, stacked_convs=1, feat_channels=32)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)

#: Detector: its neck, head, assigner, and what wiring has to fill in (C3 to C5 have 64, 96 and 128 channels at width
#: 0.25).
CASES = {
    'RetinaNet': (
        FPN,
        dict(
            **HEAD,
            type='RetinaHead',
            anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0]
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=FOCAL,
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
        dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        (32, ('anchor_generator', 'strides'), [8, 16, 32, 64, 128]),
    ),
    'FCOS': (FPN, dict(**HEAD, type='FCOSHead'), None, (32, ('strides',), [8, 16, 32, 64, 128])),
    'ATSS': (
        FPN,
        dict(
            **HEAD,
            type='ATSSHead',
            anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1),
            loss_cls=FOCAL,
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        ),
        dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
        (32, ('anchor_generator', 'strides'), [8, 16, 32, 64, 128]),
    ),
    'YOLOX': (
        dict(type='YOLOXPAFPN', out_channels=32, num_csp_blocks=1),
        dict(type='YOLOXHead', num_classes=80, feat_channels=32),
        dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        (32, ('strides',), [8, 16, 32]),
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_our_backbone_in_mmdets_detector(name, step_and_predict):
    neck, head, train_cfg, (channels, where, strides) = CASES[name]
    model = dict(
        type='mmcnn.wired',
        detector=name,
        data_preprocessor=PREPROCESSOR,
        backbone=BACKBONE,
        neck=neck,
        bbox_head=head,
        train_cfg=train_cfg,
        test_cfg=TEST,
    )
    wired = wire(model)
    assert wired.neck.in_channels == [64, 96, 128]
    assert wired.bbox_head.in_channels == channels
    found = wired.bbox_head
    for key in where:
        found = found[key]
    assert found == strides
    built = type(step_and_predict(model))
    assert (built.__name__, built.__module__.split('.')[0]) == (name, 'mmdet')


@pytest.mark.parametrize(
    ('backbone', 'channels'),
    [
        (dict(type='ResNet', depth=18, base_channels=16, out_indices=(1, 2, 3)), [32, 64, 128]),
        (dict(type='CSPDarknet', widen_factor=0.25, deepen_factor=0.33, out_indices=(2, 3, 4)), [64, 128, 256]),
        (dict(type='mmcnn.TimmBackbone', model='mobilenetv3_small_050', out_indices=(3, 4, 5)), [16, 24, 288]),
    ],
    ids=['mmdet ResNet', 'mmdet CSPDarknet', 'timm'],
)
def test_backbone_of_others_in_our_yolov4(backbone, channels, step_and_predict, request):
    if backbone['type'] == 'mmcnn.TimmBackbone':
        request.getfixturevalue('timm')
    model = load_config('yolov4_cspdarknet53').model
    model.backbone = backbone
    model.neck.update(widen_factor=0.25, deepen_factor=0.33)
    model.test_cfg.update(score_thr=0.0, max_per_img=10)
    wired = wire(model)
    assert wired.neck.in_channels == channels and wired.bbox_head.in_channels == [32, 64, 128]
    assert wired.bbox_head.strides == [8, 16, 32]
    step_and_predict(model)
