"""Missing numbers are filled in, and given ones are checked."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

import mmcnn
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS
from tests.wired_models import ANCHORS, faster_rcnn, retinanet, yolov4


def test_yolov4_is_filled_in():
    wired = wire(yolov4())
    assert wired.type == 'SingleStageDetector' and 'detector' not in wired
    assert wired.neck.in_channels == [256, 512, 1024]
    assert wired.bbox_head.in_channels == [128, 256, 512] and wired.bbox_head.strides == [8, 16, 32]


def test_wiring_twice_changes_nothing_and_the_input_is_left_alone():
    cfg = yolov4(widen_factor=0.5, deepen_factor=0.33)
    before = repr(cfg)
    once = wire(cfg)
    assert isinstance(once, ConfigDict) and wire(once) == once and repr(cfg) == before
    assert once.backbone.widen_factor == once.neck.widen_factor == 0.5 and 'widen_factor' not in once
    assert once.neck.in_channels == [128, 256, 512] and once.bbox_head.in_channels == [64, 128, 256]


def test_built_model_is_mmdets_own():
    from mmdet.models.detectors import SingleStageDetector

    with torch.device('meta'):
        model = MODELS.build(yolov4())
    assert type(model) is SingleStageDetector
    assert mmcnn.count_parameters(model)[1] == 64_363_101
    assert {key.split('.')[0] for key in model.state_dict()} == {'backbone', 'neck', 'bbox_head'}


def test_swap_by_one_word():
    wired = wire(yolov4(backbone=dict(type='mmcnn.cspdarknet53-focus', out_indices=(3, 4, 5))))
    assert wired.neck.in_channels == [256, 512, 1024]
    resnet = wire(yolov4(backbone=dict(type='ResNet', depth=50, out_indices=(1, 2, 3))))
    assert resnet.neck.in_channels == [512, 1024, 2048] and resnet.bbox_head.strides == [8, 16, 32]


def test_mmdets_own_detectors():
    retina = wire(retinanet())
    assert retina.neck.in_channels == [64, 128, 256] and retina.bbox_head.in_channels == 16
    faster = wire(faster_rcnn())
    assert faster.neck.in_channels == [32, 64, 128, 256] and faster.rpn_head.in_channels == 32
    assert faster.roi_head.bbox_roi_extractor.featmap_strides == [4, 8, 16, 32]
    assert faster.roi_head.bbox_roi_extractor.out_channels == faster.roi_head.bbox_head.in_channels == 32
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        assert type(MODELS.build(faster_rcnn())).__name__ == 'FasterRCNN'


def test_yolov3_neck_is_coarse_to_fine():
    cfg = dict(
        type='YOLOV3',
        backbone=dict(type='mmcnn.darknet53', out_indices=(3, 4, 5)),
        neck=dict(type='YOLOV3Neck', num_scales=3, out_channels=[512, 256, 128]),
        bbox_head=dict(
            type='YOLOV3Head',
            num_classes=80,
            anchor_generator=dict(type='YOLOAnchorGenerator', base_sizes=ANCHORS[::-1], strides=[32, 16, 8]),
        ),
    )
    wired = wire(cfg)
    assert wired.neck.in_channels == [1024, 512, 256] and wired.bbox_head.in_channels == [512, 256, 128]
    cfg['bbox_head']['anchor_generator']['strides'] = [8, 16, 32]
    with pytest.raises(ValueError, match=r'strides=\[8, 16, 32\] does not match YOLOV3Neck, which has \[32, 16, 8\]'):
        wire(cfg)


@pytest.mark.parametrize(
    ('cfg', 'words'),
    [
        (
            yolov4(neck=dict(type='mmcnn.YOLOv4PAN', in_channels=[64, 128, 256])),
            ['neck.in_channels=[64, 128, 256]', 'mmcnn.cspdarknet53', '[256, 512, 1024]', 'omit in_channels'],
        ),
        (
            yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS[:2])),
            ['anchors has 2 levels', 'returns 3', '[8, 16, 32]'],
        ),
        (
            yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS, strides=[4, 8, 16])),
            ['strides=[4, 8, 16]', '[8, 16, 32]'],
        ),
        (yolov4(backbone=dict(type='mmcnn.cspdarknet53', out_indices=(3, 4, 6))), ['no level 6', 'its levels are']),
        (
            retinanet(neck=None),
            ['bbox_head takes maps of equal width', '[64, 128, 256]', 'FPN'],
        ),
        (yolov4(backbone=dict(type='ResNet', depth=50, out_indices=(3, 4, 5))), ['ResNet', 'are stage numbers']),
        (yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80)), ['anchors=None', '(width, height)']),
        (
            yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS[0])),
            ['bbox_head.anchors=[(12, 16), (19, 36), (40, 28)]', 'list of (width, height)', 'for each level'],
        ),
        (
            yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=[*ANCHORS[:2], [(142, 110, 7)]])),
            ['(142, 110, 7)', '(width, height)'],
        ),
        (
            yolov4(backbone=dict(type='mmcnn.cspdarknet53', out_indices=(2, 3, 5))),
            ['cannot be upsampled', '(16, 16)', '(64, 64)'],
        ),
        (
            yolov4(backbone=dict(type='mmcnn.fpn', out_indices=(3, 4, 5))),
            ['FPNTrunk (fpn) has no level 5', 'its levels are [0, 1, 2, 3, 4]'],
        ),
        (dict(type='mmcnn.wired', backbone=dict(type='mmcnn.darknet53')), ["detector='...'"]),
        (
            retinanet(backbone=dict(type='SwinTransformer')),  # does not run on meta, so it is probed on the CPU
            ['bbox_head.anchor_generator.strides=[8, 16, 32, 64, 128]', 'FPN, which has [4, 8, 16, 32, 64]'],
        ),
    ],
    ids=['channels', 'anchors', 'strides', 'level', 'no neck', 'stages', 'no anchors', 'flat anchors', 'triples',
         'a level between', 'fpn', 'no detector', 'not on meta'],
)  # fmt: skip
def test_errors_say_what_would_be_right(cfg, words):
    with pytest.raises(ValueError) as error:
        wire(cfg)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_unknown_backbone_lists_the_nearest():
    with pytest.raises(KeyError, match=r"no model is called 'mmcnn\.cspdarknet35'; did you mean mmcnn\.cspdarknet53"):
        wire(yolov4(backbone=dict(type='mmcnn.cspdarknet35')))


def test_factors_multiply():
    wired = wire(yolov4(widen_factor=0.5, neck=dict(type='mmcnn.YOLOv4PAN', widen_factor=0.5)))
    assert wired.backbone.widen_factor == 0.5 and wired.neck.widen_factor == 0.25
    assert wired.bbox_head.in_channels == [32, 64, 128]


def test_factors_pass_by_what_has_none():
    backbone = dict(type='mmcnn.fpn', out_indices=(2, 3, 4))
    pools = faster_rcnn(backbone=backbone, neck=dict(type='mmcnn.ExtraMaxPools', num_outs=5))
    wired = wire(dict(pools, widen_factor=0.5))
    assert wired.backbone.widen_factor == 0.5 and 'widen_factor' not in wired.neck
    assert wired.rpn_head.in_channels == 128


def test_strides_of_every_kind_of_head():
    fpn = dict(type='FPN', out_channels=32, num_outs=5, start_level=1, add_extra_convs='on_output')
    fcos = wire(yolov4(backbone=dict(type='mmcnn.darknet53'), neck=fpn, bbox_head=dict(type='FCOSHead', num_classes=3)))
    assert fcos.bbox_head.strides == [8, 16, 32, 64, 128] and fcos.bbox_head.in_channels == 32
    retina = retinanet()
    del retina['bbox_head']['anchor_generator']['strides']
    assert wire(retina).bbox_head.anchor_generator.strides == [8, 16, 32, 64, 128]
    retina['bbox_head']['anchor_generator']['base_sizes'] = [8, 16, 32, 64, 128]
    assert wire(retina).bbox_head.anchor_generator.strides == [8, 16, 32, 64, 128]
    retina['bbox_head']['anchor_generator']['base_sizes'] = [8, 16]
    with pytest.raises(ValueError, match=r'anchor_generator\.base_sizes has 2 levels, but FPN returns 5'):
        wire(retina)
    base_sizes = ANCHORS[::-1]
    yolov3 = dict(
        type='YOLOV3',
        backbone=dict(type='mmcnn.darknet53', out_indices=(3, 4, 5)),
        neck=dict(type='YOLOV3Neck', num_scales=3, out_channels=[512, 256, 128]),
        bbox_head=dict(
            type='YOLOV3Head', num_classes=80, anchor_generator=dict(type='YOLOAnchorGenerator', base_sizes=base_sizes)
        ),
    )
    head = wire(yolov3).bbox_head
    assert head.anchor_generator.strides == head.featmap_strides == [32, 16, 8]
    yolov3['bbox_head']['anchor_generator']['base_sizes'] = base_sizes[:2]
    with pytest.raises(ValueError, match=r'anchor_generator\.base_sizes has 2 levels, but YOLOV3Neck returns 3'):
        wire(yolov3)


@pytest.mark.parametrize(
    ('part', 'expected'),
    [
        (dict(type='FCNMaskHead', in_channels=32), None),
        (dict(type='FCNMaskHead'), 32),
        (dict(type='FCNMaskHead', in_channels=256), r'mask_head\.in_channels=256 does not match FPN, which has 32'),
    ],
)
def test_mask_heads_are_filled_in_and_checked(part, expected):
    model = faster_rcnn()
    extractor = dict(model['roi_head']['bbox_roi_extractor'], out_channels=32)
    model['roi_head'].update(mask_roi_extractor=extractor, mask_head=part)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            wire(model)
        return
    head = wire(model).roi_head
    assert head.mask_head.in_channels == 32 and head.mask_roi_extractor.featmap_strides == [4, 8, 16, 32]


def test_a_list_of_necks_is_filled_in_one_after_the_other():
    necks = [
        dict(type='FPN', out_channels=32, num_outs=5),
        dict(type='BFP', num_levels=5, refine_level=2, refine_type='conv'),
    ]
    wired = wire(faster_rcnn(neck=necks))
    assert wired.neck[0].in_channels == [32, 64, 128, 256] and wired.neck[1].in_channels == 32
    assert wired.rpn_head.in_channels == 32


def test_a_detector_inside_of_a_detector_is_filled_in():
    plain = dict(faster_rcnn(), type='FasterRCNN')
    del plain['detector']
    wired = wire(dict(type='SoftTeacher', detector=plain))
    assert wired.detector.neck.in_channels == [32, 64, 128, 256] and wired.type == 'SoftTeacher'


def test_strides_of_one_image_size_fit_the_powers_of_two_next_to_them():
    strides = [550 / n for n in (69, 35, 18, 9, 5)]  # YOLACT's
    model = retinanet()
    model['bbox_head']['anchor_generator']['strides'] = strides
    assert wire(model).bbox_head.anchor_generator.strides == strides
    model['bbox_head']['anchor_generator']['strides'] = [550 / n for n in (35, 18, 9, 5, 3)]
    with pytest.raises(ValueError, match='strides='):
        wire(model)
