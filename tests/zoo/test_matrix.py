"""Every backbone in every detector: at full size on the meta device, and narrow with a real training step."""

import pytest

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import MissingLevelError
from mmcnn.models.families import backbone_families
from mmcnn.models.wiring import swap_backbone
from mmcnn.zoo import matrix

SIZES = ((640, 640), (416, 608))
#: Strides of the head's levels in its order, channels of its input maps, and channels of its outputs.
EXPECTED = {
    'YOLOv3': ((32, 16, 8), (512, 256, 128), (3 * 85,)),
    'YOLOv4': ((8, 16, 32), (128, 256, 512), (3 * 85,)),
    'YOLOv5': ((8, 16, 32), (256, 512, 1024), (3 * 85,)),
    'Faster R-CNN': ((4, 8, 16, 32, 64), (256,) * 5, (3, 3 * 4)),
}
FOUND = {'test_cfg.score_thr': 0.0, 'test_cfg.max_per_img': 10}
#: Options, besides the width and depth factors, that make each detector narrow and let it find something.
NARROW = {
    'YOLOv3': {
        **FOUND,
        'test_cfg.conf_thr': 0.0,
        'neck.out_channels': [32, 16, 16],
        'bbox_head.out_channels': [32, 16, 16],
    },
    'YOLOv4': FOUND,
    'YOLOv5': FOUND,
    'Faster R-CNN': {
        'neck.out_channels': 32,
        'rpn_head.feat_channels': 32,
        'roi_head.bbox_head.fc_out_channels': 64,
        'train_cfg.rpn_proposal.nms_pre': 100,
        'train_cfg.rpn_proposal.max_per_img': 50,
        'test_cfg.rpn.max_per_img': 50,
        'test_cfg.rcnn.score_thr': 0.0,
        'test_cfg.rcnn.max_per_img': 10,
    },
}
#: The first variant of each family.
FAMILIES = {cls: name for name, cls in reversed(backbone_families().items())}
#: Different kinds of networks; the first variants of other families are slow tests, the rest is run by hand.
QUICK = ('cspdarknet53', 'fpn', 'mobilenetv2')


def tier(name):
    if name in QUICK:
        return []
    return [pytest.mark.slow if name in FAMILIES.values() else pytest.mark.campaign]


def maps(channels, strides, size):
    height, width = size
    return tuple((c, -(-height // s), -(-width // s)) for c, s in zip(channels, strides, strict=True))


@pytest.mark.parametrize(
    'network',
    [pytest.param(name, marks=tier(name)) for name in mmcnn.list_backbones()],
)
def test_every_network_in_every_detector(network):
    for detector, (strides, features, outputs) in EXPECTED.items():
        pair = matrix.try_pair(network, detector, SIZES)
        if network == 'fpn':
            assert pair.missing == 5 and pair.shapes == ()
            assert (
                pair.reason == 'FPNTrunk (fpn) has no level 5; its levels are [0, 1, 2, 3, 4] (level i has stride 2**i)'
            )
            continue
        assert pair.reason is None, f'{detector}: {pair.reason}'
        for shapes, size in zip(pair.shapes, SIZES, strict=True):
            assert shapes.features == maps(features, strides, size), detector
            assert shapes.outputs == tuple(maps([c] * len(strides), strides, size) for c in outputs), detector


@pytest.mark.parametrize('detector', matrix.DETECTORS)
@pytest.mark.parametrize(
    'network',
    [pytest.param(name, marks=tier(name)) for name in sorted(set(FAMILIES.values()) - {'fpn'})],
)
def test_every_family_trains_and_predicts_in_every_detector(network, detector, step_and_predict):
    options = {'widen_factor': 0.25, 'deepen_factor': 0.33, **NARROW[detector]}
    cfg = load_config(matrix.DETECTORS[detector], {f'model.{key}': value for key, value in options.items()})
    model, _ = swap_backbone(cfg.model, network)
    built = step_and_predict(model)
    assert (built.backbone.variant, built.backbone.widen_factor) == (network, 0.25)


def test_the_plain_fpn_trunk_trains_in_its_own_config(step_and_predict):
    options = {'widen_factor': 0.25, 'deepen_factor': 0.33, **NARROW['Faster R-CNN']}
    options = {f'model.{key}': value for key, value in options.items() if not key.startswith('neck.')}
    built = step_and_predict(load_config('faster_rcnn_fpn', options).model)
    assert built.backbone.variant == 'fpn' and built.rpn_head.in_channels == 64


def test_whatever_one_pair_does_the_others_are_tried(monkeypatch):
    def broken(model, name):
        raise KeyError('a typo') if name == 'vgg11' else MissingLevelError('no level 0', 0)

    monkeypatch.setattr(matrix, 'swap_backbone', broken)
    pairs = [matrix.try_pair(name, 'YOLOv4') for name in ('vgg11', 'vgg13')]
    assert [(pair.failed, pair.missing, pair.reason) for pair in pairs] == [
        (True, None, "'a typo'"),
        (False, 0, 'no level 0'),
    ]
    assert matrix.as_text(pairs).splitlines() == [
        'network  YOLOv4',
        'vgg11    ✗',
        'vgg13    no level 0',
        "vgg11 in YOLOv4: 'a typo'",
        '0 of 2 pairs build, 1 refused for want of a level, 1 fail',
    ]


def test_a_map_of_the_wrong_size_is_a_failure(monkeypatch):
    from mmcnn.models.backbones.vgg import VGG

    monkeypatch.setattr(VGG, 'forward', lambda self, x: tuple(x.new_empty(1, c, 8, 8) for c in self.out_channels))
    pair = matrix.try_pair('vgg11', 'Faster R-CNN', [(64, 64)])
    assert pair.failed and 'a map of stride 4 is (8, 8), not (16, 16)' in pair.reason
