import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

import mmcnn
from mmcnn.errors import MissingLevelError
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import Maps, probe, set_num_classes, swap_backbone, wire
from mmcnn.registry import BACKBONE_FAMILIES, MODELS

ANCHORS = [[(12, 16), (19, 36), (40, 28)], [(36, 75), (76, 55), (72, 146)], [(142, 110), (192, 243), (459, 401)]]


def yolov4(**changes):
    return dict(
        dict(
            type='mmcnn.wired',
            detector='SingleStageDetector',
            backbone=dict(type='mmcnn.cspdarknet53', out_indices=(3, 4, 5)),
            neck=dict(type='mmcnn.YOLOv4PAN'),
            bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS),
        ),
        **changes,
    )


def retinanet(**changes):
    head = dict(
        type='RetinaHead',
        num_classes=3,
        stacked_convs=1,
        feat_channels=16,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
    )  # fmt: skip
    return dict(
        dict(
            type='mmcnn.wired',
            detector='RetinaNet',
            backbone=dict(type='mmcnn.darknet53', out_indices=(3, 4, 5), widen_factor=0.25),
            neck=dict(type='FPN', out_channels=16, start_level=0, add_extra_convs='on_input', num_outs=5),
            bbox_head=head,
        ),
        **changes,
    )


def faster_rcnn(**changes):
    return dict(
        dict(
            type='mmcnn.wired',
            detector='FasterRCNN',
            backbone=dict(type='mmcnn.darknet53', widen_factor=0.25),
            neck=dict(type='FPN', out_channels=32, num_outs=5),
            rpn_head=dict(
                type='RPNHead',
                feat_channels=32,
                anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64]),
            ),
            roi_head=dict(
                type='StandardRoIHead',
                bbox_roi_extractor=dict(
                    type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)
                ),
                bbox_head=dict(type='Shared2FCBBoxHead', num_classes=3, fc_out_channels=32, roi_feat_size=7),
            ),
            train_cfg=dict(rpn=None, rpn_proposal=None, rcnn=None),
            test_cfg=dict(rpn=dict(), rcnn=dict()),
        ),
        **changes,
    )


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
    with pytest.raises(ValueError, match=r'strides=\[8, 16, 32\] does not fit YOLOV3Neck, which gives \[32, 16, 8\]'):
        wire(cfg)


def test_probe_reads_strides_and_keeps_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    cfg = dict(
        type='mmcnn.darknet53', out_indices=(2, 5), init_cfg=dict(type='Pretrained', checkpoint='/not/there.pth')
    )
    assert probe(cfg) == Maps((128, 1024), (4, 32))
    assert probe(dict(type='ResNet', depth=18, out_indices=(0, 3), norm_eval=False)) == Maps((64, 512), (4, 32))
    for kind in ('Darknet', 'mmdet.Darknet'):  # MMDetection's, not ours of the same name
        assert probe(dict(type=kind, depth=53, out_indices=(3, 4, 5))) == Maps((256, 512, 1024), (8, 16, 32))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ('cfg', 'words'),
    [
        (
            yolov4(neck=dict(type='mmcnn.YOLOv4PAN', in_channels=[64, 128, 256])),
            ['neck.in_channels=[64, 128, 256]', 'mmcnn.cspdarknet53', '[256, 512, 1024]', 'leave in_channels out'],
        ),
        (
            yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS[:2])),
            ['anchors has 2 levels', 'gives 3', '[8, 16, 32]'],
        ),
        (
            yolov4(bbox_head=dict(type='mmcnn.YOLOHead', num_classes=80, anchors=ANCHORS, strides=[4, 8, 16])),
            ['strides=[4, 8, 16]', '[8, 16, 32]'],
        ),
        (yolov4(backbone=dict(type='mmcnn.cspdarknet53', out_indices=(3, 4, 6))), ['no level 6', 'its levels are']),
        (
            retinanet(neck=None),
            ['bbox_head takes maps of one width', '[64, 128, 256]', 'FPN'],
        ),
        (yolov4(backbone=dict(type='ResNet', depth=50, out_indices=(3, 4, 5))), ['ResNet', 'numbers of stages']),
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
            ['cannot be doubled', '(16, 16)', '(64, 64)'],
        ),
        (
            yolov4(backbone=dict(type='mmcnn.fpn', out_indices=(3, 4, 5))),
            ['FPNTrunk (fpn) has no level 5', 'its levels are [0, 1, 2, 3, 4]'],
        ),
        (dict(type='mmcnn.wired', backbone=dict(type='mmcnn.darknet53')), ["detector='...'"]),
        (
            retinanet(backbone=dict(type='SwinTransformer')),
            ['backbone SwinTransformer cannot be probed', 'in_channels', 'by hand'],
        ),
    ],
    ids=['channels', 'anchors', 'strides', 'level', 'no neck', 'stages', 'no anchors', 'flat anchors', 'triples',
         'a level between', 'fpn', 'no detector', 'not on meta'],
)  # fmt: skip
def test_errors_say_what_would_be_right(cfg, words):
    with pytest.raises(ValueError) as error:
        wire(cfg)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_class_counts_are_set_wherever_they_are():
    cfg = wire(faster_rcnn())
    cfg.roi_head.bbox_head = [cfg.roi_head.bbox_head, dict(num_classes=9)]
    set_num_classes(cfg, 5)
    assert [head['num_classes'] for head in cfg.roi_head.bbox_head] == [5, 5] and 'num_classes' not in cfg.rpn_head


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
    with pytest.raises(ValueError, match=r'anchor_generator\.base_sizes has 2 levels, but FPN gives 5'):
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
    with pytest.raises(ValueError, match=r'anchor_generator\.base_sizes has 2 levels, but YOLOV3Neck gives 3'):
        wire(yolov3)


CAFFE = dict(mean=[103.939, 116.779, 123.68], std=[1.0] * 3, bgr_to_rgb=False)


def preprocessor(backbone, **written):
    """What ``wire`` makes of the data preprocessor of a detector."""
    written = dict(type='DetDataPreprocessor') | written
    return wire(yolov4(backbone=dict(backbone, out_indices=(3, 4, 5)), data_preprocessor=written)).data_preprocessor


def test_images_are_normalised_as_the_row_says():
    assert preprocessor(dict(type='mmcnn.vgg16'), pad_value=1) == dict(type='DetDataPreprocessor', pad_value=1, **CAFFE)
    # Every way to name a row, and MMDetection's preprocessor or ours.
    for backbone in (dict(type='mmcnn.VGG', variant='vgg16'), dict(type=mmcnn.models.backbones.VGG, variant='vgg16')):
        assert preprocessor(backbone, type='mmcnn.PlanPreprocessor') == dict(type='mmcnn.PlanPreprocessor', **CAFFE)
    unit = preprocessor(dict(type='mmcnn.cspdarknet53'))
    assert (unit.mean, unit.std, unit.bgr_to_rgb) == ([0.0] * 3, [255.0] * 3, True)


@pytest.mark.parametrize(
    'written',
    [dict(mean=None, std=None), dict(mean=[1, 2, 3], std=[4, 5, 6]), dict(bgr_to_rgb=True), dict(rgb_to_bgr=False)],
)
def test_what_is_written_of_the_images_stays(written):
    """One of them says how the others are meant: a mean in BGR order, and no swap."""
    written = dict(type='DetDataPreprocessor') | written
    assert preprocessor(dict(type='mmcnn.cspdarknet53'), **written) == written


@pytest.mark.parametrize('channels', [1, 4])
def test_images_of_other_channels_stay_as_they_are(channels):
    bare = dict(type='DetDataPreprocessor')
    assert preprocessor(dict(type='mmcnn.cspdarknet53', in_channels=channels)) == bare


def test_images_of_foreign_parts_and_of_plain_configs_stay_as_they_are():
    bare = dict(type='DetDataPreprocessor')
    foreign = yolov4(backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3)), data_preprocessor=bare)
    assert wire(foreign).data_preprocessor == bare
    plain = yolov4(type='SingleStageDetector', data_preprocessor=bare)  # as a run has recorded it
    del plain['detector']
    assert wire(plain).data_preprocessor == bare
    base = dict(type='BaseDataPreprocessor')  # normalises nothing
    assert preprocessor(dict(type='mmcnn.vgg16'), **base) == base
    assert 'data_preprocessor' not in wire(yolov4())


def test_swap_to_the_same_image_format_says_nothing_of_it():
    model = yolov4(data_preprocessor=dict(type='DetDataPreprocessor', pad_value=114 / 255))
    swapped, notes = swap_backbone(model, 'darknet53')
    assert notes == [] and swapped.data_preprocessor.pad_value == 114 / 255
    swapped, notes = swap_backbone(model, 'vgg16')
    assert notes == [
        'images are normalised as vgg16 expects: mean (103.939, 116.779, 123.68), std (1.0, 1.0, 1.0), bgr'
    ]
    assert {key: swapped.data_preprocessor[key] for key in CAFFE} == CAFFE


def test_swap_keeps_levels_and_drops_what_belonged_to_the_old_backbone():
    old = dict(
        type='mmcnn.cspdarknet53',
        out_indices=(4, 5),
        frozen_stages=2,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='old.pth'),
    )
    preprocessor = dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, bgr_to_rgb=False, pad_value=5)
    model = yolov4(backbone=old, data_preprocessor=preprocessor)
    before = repr(model)
    swapped, notes = swap_backbone(model, 'darknet53')
    assert repr(model) == before
    assert swapped.backbone == dict(type='mmcnn.darknet53', out_indices=(4, 5))
    assert [note.split('=')[0] for note in notes[:3]] == ['init_cfg', 'frozen_stages', 'norm_eval']
    expected = dict(
        mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True, rgb_to_bgr=False, pad_value=pytest.approx(114 / 255)
    )
    assert {key: swapped.data_preprocessor[key] for key in expected} == expected
    assert 'normalised as darknet53 expects' in notes[3]
    assert swap_backbone(swapped, 'mmcnn.darknet53') == (swapped, [])  # nothing left to say


def test_swap_counts_levels_of_mmdets_backbones():
    model = yolov4(backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3)))  # strides 8 to 32
    assert swap_backbone(model, 'darknet53')[0].backbone.out_indices == (3, 4, 5)


def test_swap_to_a_pyramid_does_without_the_fpn():
    swapped, notes = swap_backbone(faster_rcnn(), 'resnet-fpn')
    assert swapped.neck is None and swapped.backbone == dict(type='mmcnn.resnet-fpn', out_indices=(2, 3, 4, 5, 6))
    assert notes == ['resnet-fpn has a pyramid of its own: the neck FPN is dropped']
    wired = wire(swapped)
    assert wired.rpn_head.in_channels == wired.roi_head.bbox_head.in_channels == 256
    assert wired.rpn_head.anchor_generator.strides == [4, 8, 16, 32, 64]
    with pytest.raises(ValueError, match=r'VGG \(vgg16\) has no level 6'):  # and not the other way
        swap_backbone(swapped, 'vgg16')


def test_swap_to_a_pyramid_of_release_0_1(monkeypatch):
    with pytest.warns(DeprecationWarning):

        class Family(backbone_families()['darknet53']):
            pyramid = True

    monkeypatch.setitem(BACKBONE_FAMILIES, 'darknet53', Family)
    model = faster_rcnn(backbone=dict(type='mmcnn.vgg16'), neck=dict(type='FPN', out_channels=32, num_outs=4))
    swapped, notes = swap_backbone(model, 'darknet53')
    assert swapped.neck is None and 'darknet53 has a pyramid of its own: the neck FPN is dropped' in notes


@pytest.mark.parametrize(
    'model',
    [
        yolov4(),  # another neck
        retinanet(),  # level 7
        faster_rcnn(neck=dict(type='FPN', out_channels=32, num_outs=5, add_extra_convs='on_output')),
    ],
    ids=['yolov4', 'retinanet', 'extra convolutions'],
)
def test_swap_to_a_pyramid_keeps_a_neck_that_does_more(model):
    swapped, notes = swap_backbone(model, 'resnet-fpn')
    assert swapped.neck == model['neck'] and notes == []
    assert set(wire(swapped).neck.in_channels) == {256}


def test_swap_to_what_does_not_exist():
    with pytest.raises(ValueError, match=r"no backbone is called 'darknet35'; did you mean darknet53"):
        swap_backbone(yolov4(), 'darknet35')
    words = r'cspdarknet53-focus\) has no level 0; its levels are \[1, 2, 3, 4, 5\]'
    with pytest.raises(MissingLevelError, match=words) as error:
        swap_backbone(yolov4(backbone=dict(type='mmcnn.darknet53', out_indices=(0, 1))), 'cspdarknet53-focus')
    assert error.value.level == 0
