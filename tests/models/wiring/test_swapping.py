"""Swapping the backbone and every number that describes it."""

import pytest

from mmcnn.errors import MissingLevelError, UsageError
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import swap_backbone, wire
from mmcnn.registry import BACKBONE_FAMILIES
from tests.wired_models import faster_rcnn, retinanet, yolov4


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
    assert swap_backbone(swapped, 'mmcnn.darknet53') == (swapped, [])  # nothing more to change


def test_swap_counts_levels_of_mmdets_backbones():
    model = yolov4(backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3)))  # strides 8 to 32
    assert swap_backbone(model, 'darknet53')[0].backbone.out_indices == (3, 4, 5)


def test_swap_to_a_pyramid_does_without_the_fpn():
    swapped, notes = swap_backbone(faster_rcnn(), 'resnet-fpn')
    assert swapped.neck is None and swapped.backbone == dict(type='mmcnn.resnet-fpn', out_indices=(2, 3, 4, 5, 6))
    assert notes == ['resnet-fpn has its own pyramid: the neck FPN is dropped']
    wired = wire(swapped)
    assert wired.rpn_head.in_channels == wired.roi_head.bbox_head.in_channels == 256
    assert wired.rpn_head.anchor_generator.strides == [4, 8, 16, 32, 64]
    with pytest.raises(ValueError, match=r'VGG \(vgg16\) has no level 6'):  # the reverse is refused
        swap_backbone(swapped, 'vgg16')


def test_swap_to_a_pyramid_of_release_0_1(monkeypatch):
    with pytest.warns(DeprecationWarning):

        class Family(backbone_families()['darknet53']):
            pyramid = True

    monkeypatch.setitem(BACKBONE_FAMILIES, 'darknet53', Family)
    model = faster_rcnn(backbone=dict(type='mmcnn.vgg16'), neck=dict(type='FPN', out_channels=32, num_outs=4))
    swapped, notes = swap_backbone(model, 'darknet53')
    assert swapped.neck is None and 'darknet53 has its own pyramid: the neck FPN is dropped' in notes


@pytest.mark.parametrize(
    'model',
    [
        yolov4(),  # another neck
        retinanet(),  # it has level 7
        faster_rcnn(neck=dict(type='FPN', out_channels=32, num_outs=5, add_extra_convs='on_output')),
    ],
    ids=['yolov4', 'retinanet', 'extra convolutions'],
)
def test_swap_to_a_pyramid_keeps_a_neck_that_does_more(model):
    swapped, notes = swap_backbone(model, 'resnet-fpn')
    assert swapped.neck == model['neck'] and notes == []
    assert set(wire(swapped).neck.in_channels) == {256}


def test_swap_to_what_does_not_exist():
    with pytest.raises(ValueError, match=r"unknown backbone 'darknet35'; did you mean darknet53"):
        swap_backbone(yolov4(), 'darknet35')
    words = r'cspdarknet53-focus\) has no level 0; its levels are \[1, 2, 3, 4, 5\]'
    with pytest.raises(MissingLevelError, match=words) as error:
        swap_backbone(yolov4(backbone=dict(type='mmcnn.darknet53', out_indices=(0, 1))), 'cspdarknet53-focus')
    assert error.value.level == 0


def plain(**changes):
    """A RetinaNet with all numbers of MMDetection's ResNet-18, as in MMDetection's configs."""
    model = wire(
        retinanet(
            backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3)),
            data_preprocessor=dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, bgr_to_rgb=True),
        )
    )
    for key, value in changes.items():
        model[key] = value  # update would merge
    return model


def test_numbers_of_the_old_backbone_are_replaced_and_told():
    model = plain()
    swapped, notes = swap_backbone(model, 'mobilenetv2')
    assert swapped.neck.in_channels == [32, 96, 320] and swapped.bbox_head == model.bbox_head
    assert 'neck.in_channels changed from [128, 256, 512] to [32, 96, 320], from mmcnn.mobilenetv2' in notes
    assert wire(swapped) == swapped
    back, notes = swap_backbone(swapped, dict(type='ResNet', depth=18))
    assert back.backbone == dict(type='ResNet', depth=18, out_indices=(1, 2, 3))
    assert back.neck == model.neck and 'images are normalised as before: ResNet does not state' in notes[-1]


def test_a_wrong_number_of_a_kept_part_is_refused_by_wire():
    model = plain()
    model.bbox_head.in_channels = 99  # wrong for both backbones, so not a number to replace
    swapped, notes = swap_backbone(model, 'mobilenetv2')
    assert not any('bbox_head' in note for note in notes)
    with pytest.raises(UsageError, match=r'bbox_head\.in_channels=99 does not match FPN, which has 16'):
        wire(swapped)


def test_others_go_by_their_scope():
    swapped, _ = swap_backbone(plain(), 'mmdet.MobileNetV2')
    assert swapped.backbone == dict(type='MobileNetV2', out_indices=(2, 4, 7))
    assert swapped.neck.in_channels == [32, 96, 1280]
    with pytest.raises(UsageError, match=r'ResNet has no maps of the strides \[8, 16, 32\] .* or cannot be built'):
        swap_backbone(plain(), 'mmdet.ResNet')


def single_map(neck, head, out_indices):
    """A detector whose neck uses the coarsest map only."""
    backbone = dict(type='ResNet', depth=18, out_indices=out_indices)
    return dict(type='SingleStageDetector', backbone=backbone, neck=neck, bbox_head=head)


def test_necks_that_take_one_number_get_that_of_the_coarsest_map():
    yolof = single_map(
        dict(type='DilatedEncoder', in_channels=512, out_channels=16, block_mid_channels=8, num_residual_blocks=1,
             block_dilations=[2]),
        dict(type='YOLOFHead', num_classes=3, in_channels=16,
             anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[1], strides=[32])),
        (3,),
    )  # fmt: skip
    assert swap_backbone(yolof, 'mobilenetv2')[0].neck.in_channels == 320
    centernet = single_map(
        dict(type='CTResNetNeck', in_channels=512, num_deconv_filters=(16,), num_deconv_kernels=(4,), use_dcn=False),
        dict(type='CenterNetHead', num_classes=3, in_channels=16, feat_channels=16),
        (0, 1, 2, 3),
    )
    swapped = swap_backbone(centernet, 'mobilenetv2')[0]
    assert swapped.neck.in_channels == 320 and swapped.bbox_head.in_channels == 16


def test_ssd_gets_extra_levels_from_any_backbone():
    """The neck passes on two maps and computes the others; strides follow the image size of the config."""
    ssd = dict(
        type='SingleStageDetector',
        backbone=dict(type='SSDVGG', depth=16, with_last_pool=False, ceil_mode=True, out_indices=(3, 4),
                      out_feature_indices=(22, 34)),
        neck=dict(type='SSDNeck', in_channels=(512, 1024), out_channels=(512, 1024, 64, 32), level_strides=(2, 2),
                  level_paddings=(1, 1), l2_norm_scale=20),
        bbox_head=dict(type='SSDHead', in_channels=(512, 1024, 64, 32), num_classes=3,
                       anchor_generator=dict(type='SSDAnchorGenerator', input_size=300, basesize_ratio_range=(0.2, 0.9),
                                             strides=[8, 16, 32, 64], ratios=[[2]] * 4)),
    )  # fmt: skip
    assert wire(ssd) == ssd
    swapped = swap_backbone(ssd, 'mobilenetv2')[0]
    assert swapped.neck.in_channels == [32, 96] and swapped.neck.out_channels == [32, 96, 64, 32]
    assert swapped.bbox_head.in_channels == [32, 96, 64, 32]
    assert list(swapped.bbox_head.anchor_generator.strides) == [8, 16, 32, 64]
    assert wire(swapped) == swapped


def test_a_detector_on_c4_gets_the_last_stage_of_the_new_backbone():
    backbone = dict(type='ResNet', depth=50, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    model = faster_rcnn(type='FasterRCNN', backbone=backbone, neck=None)
    del model['detector']
    model['rpn_head']['anchor_generator']['strides'] = [16]
    model['roi_head'].update(shared_head=dict(type='ResLayer', depth=50, stage=3))
    model = wire(model)
    assert model.rpn_head.in_channels == 1024 and model.roi_head.bbox_head.in_channels == 2048
    swapped, notes = swap_backbone(model, 'mobilenetv2')
    assert swapped.backbone.out_indices == (4,) and swapped.rpn_head.in_channels == 96
    assert swapped.roi_head.bbox_roi_extractor.out_channels == 96 and swapped.roi_head.bbox_head.in_channels == 320
    assert swapped.roi_head.shared_head == dict(
        type='mmcnn.LastStages', backbone=dict(type='mmcnn.mobilenetv2'), after=4
    )
    assert 'roi_head.shared_head consists of the stages of mobilenetv2 after level 4, with random weights' in notes
    again, _ = swap_backbone(swapped, 'resnet18')
    assert again.roi_head.shared_head.backbone.type == 'mmcnn.resnet18' and again.roi_head.bbox_head.in_channels == 512
    with pytest.raises(UsageError, match='only be replaced by that of an mmcnn backbone'):
        swap_backbone(swapped, dict(type='ResNet', depth=18))


def test_heads_with_arguments_of_their_own():
    model = faster_rcnn()
    model['roi_head']['bbox_head'] = dict(type='SABLHead', num_classes=3, cls_in_channels=9, reg_in_channels=9)
    with pytest.raises(
        ValueError, match=r'roi_head\.bbox_head\.(cls|reg)_in_channels=9 does not match FPN, which has 32'
    ):
        wire(model)
    panoptic = dict(
        type='MaskFormer',
        backbone=dict(type='ResNet', depth=18),
        panoptic_head=dict(type='MaskFormerHead', in_channels=[64, 128, 256, 512], num_queries=5),
    )
    assert swap_backbone(panoptic, 'mobilenetv2')[0].panoptic_head.in_channels == [24, 32, 96, 320]


def test_a_detector_inside_of_a_detector_and_its_images():
    inner = plain()
    outer = dict(
        type='SoftTeacher',
        detector=inner,
        data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=inner.data_preprocessor),
    )
    swapped, notes = swap_backbone(outer, 'vgg16')
    assert swapped.detector.backbone.type == 'mmcnn.vgg16' and swapped.detector.neck.in_channels == [512, 512, 512]
    mean = [103.939, 116.779, 123.68]
    assert swapped.data_preprocessor.data_preprocessor.mean == swapped.detector.data_preprocessor.mean == mean
    assert 'mean' not in swapped.data_preprocessor and len([note for note in notes if 'normalised' in note]) == 1


@pytest.mark.parametrize(
    ('model', 'words'),
    [
        (plain(type='TridentFasterRCNN'), 'TridentFasterRCNN works with no other backbone: it needs three branches'),
        (plain(type='CornerNet'), 'CornerNet works with no other backbone: .*two stacked hourglasses'),
        (plain(type='LAD'), "LAD works with no other backbone: it learns from a teacher's file"),
        (plain(type='KnowledgeDistillationSingleStageDetector'), "learns from a teacher's file"),
        (plain(neck=dict(type='RFP')), 'RFP works with no other backbone: it feeds the pyramid back'),
        (plain(backbone=dict(type='HourglassNet', downsample_times=2, stage_channels=(8, 8, 8),
                             stage_blocks=(1, 1, 1), feat_channel=8)), r'strides \[4, 4\] from HourglassNet'),
        (dict(type='Detectron2Wrapper'), 'Detectron2Wrapper has no backbone that could be swapped'),
    ],
)  # fmt: skip
def test_detectors_that_go_with_one_backbone_are_refused_by_name(model, words):
    with pytest.raises(UsageError, match=words):
        swap_backbone(model, 'mobilenetv2')


def test_what_was_frozen_is_counted_by_strides_where_weights_come():
    several = [dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='BatchNorm2d')]
    backbone = dict(type='ResNet', depth=18, out_indices=(1, 2, 3), frozen_stages=1, norm_eval=True)
    swapped, notes = swap_backbone(plain(backbone=backbone), 'resnet34', weights=True)
    assert swapped.backbone.frozen_stages == 2 and swapped.backbone.norm_eval
    assert 'frozen_stages=1 of ResNet is now frozen_stages=2: levels are numbered by stride' in notes
    swapped, notes = swap_backbone(plain(backbone=dict(backbone, norm_cfg=dict(type='SyncBN'))), 'resnet34')
    assert swapped.backbone == dict(type='mmcnn.resnet34', out_indices=(3, 4, 5))
    assert [note.split('=')[0] for note in notes[:3]] == ['frozen_stages', 'norm_eval', 'norm_cfg']
    assert swap_backbone(plain(backbone=dict(backbone, init_cfg=several)), 'resnet34')[1][0].startswith('init_cfg=[')


def test_an_old_backbone_with_deformable_convolutions_needs_no_operator():
    backbone = dict(type='ResNet', depth=18, out_indices=(1, 2, 3), dcn=dict(type='DCNv2'),
                    stage_with_dcn=(False, True, True, True))  # fmt: skip
    swapped, notes = swap_backbone(plain(backbone=backbone), 'mobilenetv2')
    assert swapped.neck.in_channels == [32, 96, 320] and notes[0].startswith('dcn=')


def test_dilated_stages_are_replaced_by_the_level_of_their_stride():
    backbone = dict(type='ResNet', depth=18, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(3,))
    model = faster_rcnn(type='FasterRCNN', backbone=backbone, neck=None)
    del model['detector']
    model['rpn_head']['anchor_generator']['strides'] = [16]
    swapped, notes = swap_backbone(wire(model), 'mobilenetv2')
    assert swapped.backbone.out_indices == (4,) and swapped.rpn_head.in_channels == 96
    assert 'dilations=(1, 1, 1, 2) applied to ResNet and is dropped' in notes
