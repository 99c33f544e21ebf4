"""Exceptions among MMDetection's parts: one test for each entry of the tables."""

import pytest

from mmcnn.models.wiring import Maps, probe, wire
from mmcnn.models.wiring import slots as tables
from mmcnn.models.wiring.slots import Slot, slots
from tests.wired_models import ANCHORS, faster_rcnn, retinanet

BACKBONE = dict(type='mmcnn.darknet53', out_indices=(3, 4, 5), widen_factor=0.25)  # 64, 128 and 256 channels


def single_stage(head, neck=None, **changes):
    return dict(dict(type='SingleStageDetector', backbone=BACKBONE, neck=neck, bbox_head=head), **changes)


def filled(cfg, path):
    """The value at a path such as ``bbox_head.in_channels`` after ``wire``."""
    node = wire(cfg)
    for key in path.split('.'):
        node = node[int(key)] if key.isdigit() else node.get(key)
    return node


def roi(**parts):
    """A Faster R-CNN with an FPN of 32 channels, a shared head that outputs 64, and the given parts."""
    model = faster_rcnn()
    shared = dict(type='mmcnn.LastStages', backbone=dict(type='mmcnn.darknet53', widen_factor=0.0625), after=4)
    model['neck']['out_channels'] = model['rpn_head']['feat_channels'] = 32
    model['roi_head'] |= dict(shared_head=shared, **parts)
    return model


def test_yolov3s_neck_takes_maps_coarse_to_fine():
    neck = dict(type='YOLOV3Neck', num_scales=3, out_channels=[32, 16, 8])
    head = dict(type='YOLOV3Head', num_classes=3, anchor_generator=dict(type='YOLOAnchorGenerator', base_sizes=ANCHORS))
    assert filled(single_stage(head, neck, type='YOLOV3'), 'neck.in_channels') == [256, 128, 64]


def test_a_recursive_pyramid_gets_the_image_first():
    maps = Maps((3, 64, 128, 256), (1, 8, 16, 32))
    neck = dict(type='RFP', out_channels=16, num_outs=3)
    (slot,) = tables._neck_slots(neck, ('neck',), maps, 'DetectoRS_ResNet')
    assert slot == Slot(('neck',), 'in_channels', [64, 128, 256], 'DetectoRS_ResNet')


def test_ssds_neck_passes_the_maps_on():
    backbone = dict(type='mmcnn.darknet53', out_indices=(3, 4), widen_factor=0.25)
    neck = dict(type='SSDNeck', level_strides=(2,), level_paddings=(1,), l2_norm_scale=None)
    head = dict(type='RetinaHead', num_classes=3)
    cfg = single_stage(dict(type='SSDHead', num_classes=3), dict(neck, out_channels=(64, 128, 32)), backbone=backbone)
    assert filled(cfg, 'neck.in_channels') == (64, 128) and filled(cfg, 'bbox_head.in_channels') == [64, 128, 32]
    with pytest.raises(ValueError, match=r'neck\.out_channels=.*512.* does not match .*, which has \[64, 128, 32\]'):
        wire(single_stage(head, dict(neck, out_channels=(512, 1024, 32)), backbone=backbone))


@pytest.mark.parametrize('kind', ['mmcnn.YOLOHead', 'YOLOV3Head', 'mmcnn.DarknetYOLOV3Head', 'SSDHead'])
def test_heads_with_one_width_a_level(kind):
    generator = dict(type='YOLOAnchorGenerator', base_sizes=ANCHORS)
    own = dict(anchors=ANCHORS) if kind == 'mmcnn.YOLOHead' else dict(anchor_generator=generator)
    assert filled(single_stage(dict(type=kind, num_classes=3, **own)), 'bbox_head.in_channels') == [64, 128, 256]


def test_solo_resizes_the_maps_and_keeps_its_strides():
    head = dict(type='SOLOHead', num_classes=3, feat_channels=16, strides=[8, 8, 16, 32, 32], num_grids=[9, 8, 7, 6, 5])
    neck = dict(type='FPN', out_channels=16, num_outs=5)
    wired = wire(dict(type='SOLO', backbone=dict(BACKBONE, out_indices=(2, 3, 4, 5)), neck=neck, mask_head=head))
    assert wired.mask_head.strides == [8, 8, 16, 32, 32] and wired.mask_head.in_channels == 16
    # So do heads derived from it.
    wired = wire(dict(type='SOLO', backbone=dict(BACKBONE, out_indices=(2, 3, 4, 5)), neck=neck,
                      mask_head=dict(head, type='DecoupledSOLOHead')))  # fmt: skip
    assert wired.mask_head.strides == [8, 8, 16, 32, 32]


def test_yolacts_masks_come_of_the_finest_map():
    cfg = dict(type='YOLACT', backbone=BACKBONE, mask_head=dict(type='YOLACTProtonet', num_classes=3))
    assert filled(cfg, 'mask_head.in_channels') == 64


def test_an_ssd_is_made_for_images_of_one_size():
    generator = dict(type='SSDAnchorGenerator', input_size=320, strides=[8, 16, 32])
    assert tables.one_size(single_stage(dict(type='SSDHead', anchor_generator=generator))) == 320
    del generator['input_size']
    assert (
        tables.one_size(single_stage(dict(type='SSDHead', anchor_generator=dict(generator, strides=[8, 300])))) == 300
    )
    assert tables.one_size(retinanet()) is None


def test_the_extractor_of_a_semantic_map_has_a_width_of_its_own():
    layer = dict(type='RoIAlign', output_size=14, sampling_ratio=0)
    extractor = dict(type='SingleRoIExtractor', roi_layer=layer, out_channels=7, featmap_strides=[8])
    model = roi(semantic_roi_extractor=extractor)
    assert filled(model, 'roi_head.semantic_roi_extractor') == extractor
    # All other extractors get the neck's channels.
    with pytest.raises(
        ValueError, match=r'roi_head\.mask_roi_extractor\.out_channels=7 does not match FPN, which has 32'
    ):
        wire(roi(mask_roi_extractor=extractor))


HEADS = {
    'bbox_head': dict(type='Shared2FCBBoxHead', num_classes=3),
    'mask_head': dict(type='FCNMaskHead', num_classes=3),
    'grid_head': dict(type='GridHead'),
    'point_head': dict(type='MaskPointHead', num_classes=3),
    'semantic_head': dict(type='FusedSemanticHead', num_ins=5, fusion_level=1),
    'glbctx_head': dict(type='GlobalContextHead'),
}


@pytest.mark.parametrize('key', HEADS)
def test_heads_beside_and_behind_a_shared_head(key):
    """Heads on the FPN's maps get its 32 channels, heads behind the shared head get its 64."""
    model = roi(**{key: HEADS[key]})
    behind = probe(model['roi_head']['shared_head'], Maps((32,), (16,)), one_map=True).channels[0]
    assert behind == 64
    expected = 32 if key in ('point_head', 'semantic_head', 'glbctx_head') else behind
    assert filled(model, f'roi_head.{key}.in_channels') == expected


@pytest.mark.parametrize('key', ['roi_head', 'data_preprocessor', 'train_cfg', 'test_cfg', 'init_cfg'])
def test_what_is_no_head_is_left_alone(key):
    head = dict(type='RetinaHead', num_classes=3)  # a head where no head belongs
    cfg = dict(retinanet(), **{key: head})
    walked = [each.path for each in slots(wire(retinanet()) | {key: head}) if isinstance(each, Slot)]
    assert (key,) not in walked and cfg[key] == head


def test_parts_inside_of_a_head_get_its_maps():
    stage = dict(type='StageCascadeRPNHead', feat_channels=16,
                 anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0]))  # fmt: skip
    neck = dict(type='FPN', out_channels=16, num_outs=3)
    cfg = dict(type='RPN', backbone=BACKBONE, neck=neck, rpn_head=dict(type='CascadeRPNHead', stages=[stage, stage]))
    for i in (0, 1):
        assert filled(cfg, f'rpn_head.stages.{i}.in_channels') == 16
        assert filled(cfg, f'rpn_head.stages.{i}.anchor_generator.strides') == [8, 16, 32]


@pytest.mark.parametrize('kind', ['CondInstMaskHead', 'SOLOV2Head'])
def test_settings_inside_of_a_head_get_its_width(kind):
    features = dict(feat_channels=8, start_level=0, end_level=2, out_channels=16)
    head = dict(type=kind, num_classes=3, mask_feature_head=features)
    neck = dict(type='FPN', out_channels=16, num_outs=3)
    cfg = dict(type='CondInst', backbone=BACKBONE, neck=neck, mask_head=head)
    assert filled(cfg, 'mask_head.mask_feature_head.in_channels') == 16
    features['in_channels'] = 256
    with pytest.raises(ValueError, match=r'mask_feature_head\.in_channels=256 does not match FPN, which has 16'):
        wire(cfg)
