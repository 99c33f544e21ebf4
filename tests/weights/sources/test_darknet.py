import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError
from mmcnn.weights.sources.darknet import order_of

# Sizes of the public files; each has a header of 20 bytes.
PUBLIC = {
    'yolov3.weights': ('yolov3_darknet53', 248_007_048),
    'yolov4.weights': ('yolov4_cspdarknet53_darknet', 257_717_640),
    'darknet53.conv.74': ('darknet53', 162_482_580),
    'csdarknet53-omega.conv.105': ('cspdarknet53', 106_610_068),
    'yolov4.conv.137': ('yolov4_cspdarknet53_darknet', 170_038_676),
}


def meta(name, **settings):
    """Build a backbone, or the detector of a config, on the meta device."""
    with torch.device('meta'):
        if name in mmcnn.list_backbones():
            return mmcnn.build_backbone(name, **settings)
        model = {**load_config(name).model, **settings.pop('model', {})}
        model['backbone'] = {**model['backbone'], 'init_cfg': None, **settings}
        with DefaultScope.overwrite_default_scope('mmdet'):
            return MODELS.build(model)


@pytest.mark.parametrize('file', PUBLIC)
def test_sizes_of_the_public_files(file):
    name, size = PUBLIC[file]
    order = order_of(meta(name))
    floats = {f'conv.{n}': floats for floats, n in order.cuts.items()} | {'weights': order.floats}
    assert 20 + 4 * floats[file.partition('.')[2]] == size


def test_order_inside_a_stage_of_csp():
    """The layers are down, short, main, blocks, post, final; each has beta, gamma, mean, variance, kernel."""
    keys = [entry.key for entry in order_of(meta('cspdarknet53')).entries if entry.key.startswith('stage2.')]
    convolutions = [
        'down', 'short', 'main', 'blocks.0.conv1', 'blocks.0.conv2', 'blocks.1.conv1', 'blocks.1.conv2', 'post', 'final'
    ]  # fmt: skip
    kinds = ['bn.bias', 'bn.weight', 'bn.running_mean', 'bn.running_var', 'conv.weight']
    assert keys == [f'stage2.{conv}.{kind}' for conv in convolutions for kind in kinds]


def test_narrow_and_changed_forms_have_the_same_order():
    keys = [entry.key for entry in order_of(meta('yolov4_cspdarknet53_darknet')).entries]
    narrow = order_of(meta('yolov4_cspdarknet53_darknet', model=dict(widen_factor=0.25)))
    assert [entry.key for entry in narrow.entries] == keys
    grey = order_of(meta('darknet53', in_channels=1))
    assert order_of(meta('darknet53')).floats - grey.floats == 2 * 32 * 3 * 3


@pytest.mark.parametrize('classes', [1, 20, 365])
def test_classes_that_a_count_explains(classes):
    order = order_of(meta('yolov4_cspdarknet53_darknet'))
    # Three anchors; kernels on 256, 512 and 1024 channels, each level with a bias.
    floats = 64_429_405 + (classes - 80) * 3 * (256 + 512 + 1024 + 3)
    assert order.classes_of(floats) == classes
    assert order.classes_of(floats + 1) is None
    assert order.classes_of(floats - 5385 * classes) is None  # no classes at all
    classifier = order_of(mmcnn.build_classifier('darknet53', 3, widen_factor=0.05, deepen_factor=0.1))
    assert classifier.classes_of(classifier.floats + (classes - 3) * (56 + 1)) == classes


KNOWN = (
    'there are files for darknet53 and cspdarknet53, as backbones and as classifiers, and for YOLOv3 on darknet53 and'
)


@pytest.mark.parametrize(
    ('name', 'settings', 'said'),
    [
        ('vgg16', {}, 'vgg16'),
        ('darknet53-timm', {}, 'darknet53-timm'),  # another activation
        ('yolov5_s', {}, 'cspdarknet-s'),
        ('yolov4_cspdarknet53_darknet', dict(type='mmcnn.vovnet39'), 'vovnet39'),
        ('faster_rcnn_resnet50_fpn', {}, 'resnet50-tv'),
        ('yolov4_cspdarknet53_darknet', dict(type='mmcnn.darknet53'), 'this SingleStageDetector on darknet53'),
        ('yolov4_cspdarknet53_darknet', dict(out_indices=(2, 3, 4)), 'this SingleStageDetector on cspdarknet53'),
    ],
)
def test_networks_that_darknet_does_not_have(name, settings, said):
    with pytest.raises(CheckpointError, match=f'^Darknet has no weight files for {said}; {KNOWN} YOLOv4 on cspdarkn'):
        order_of(meta(name, **settings))


def test_foreign_modules():
    with pytest.raises(CheckpointError, match='Darknet has no weight files for Linear;'):
        order_of(torch.nn.Linear(1, 1))


def test_convolutions_without_batchnorm():
    tiny = dict(widen_factor=0.05, deepen_factor=0.1)
    folded = mmcnn.fuse(mmcnn.build_backbone('darknet53', **tiny))
    groups = mmcnn.build_backbone('darknet53', **tiny, norm_cfg=dict(type='GN', num_groups=2))
    for model in (folded, groups):
        with pytest.raises(CheckpointError, match=r'^stem is not a convolution followed by BatchNorm.*mmcnn\.fuse'):
            order_of(model)


def test_parts_too_many_or_too_few():
    model = meta('darknet53')
    model.extra = torch.nn.Linear(1, 1)
    with pytest.raises(
        CheckpointError, match=r'^darknet53 has 2 entries that Darknet does not: extra\.weight, extra\.b'
    ):
        order_of(model)
    head = dict(type='mmcnn.YOLOHead', num_classes=2, bridge=False, anchors=[[(8, 8)] * 3] * 3)
    model = meta('yolov4_cspdarknet53_darknet', model=dict(bbox_head=head))
    with pytest.raises(CheckpointError, match=r'with 2 classes differs from .*: bbox_head\.bridges\.0 is not a c'):
        order_of(model)
