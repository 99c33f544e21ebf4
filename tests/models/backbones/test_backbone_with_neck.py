import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.models.wiring import wire

SMALL = dict(widen_factor=0.25, deepen_factor=0.33)
# Parameters: 1x1 from 256, 512, 1024 and 2048 to 256 channels, four 3x3 from 256 to 256, all with bias.
PYRAMID = (256 + 512 + 1024 + 2048) * 256 + 4 * 256 + 4 * (9 * 256 * 256 + 256)


def test_published_counts():
    assert PYRAMID == 3_344_384
    with torch.device('meta'):
        bare = mmcnn.build_backbone('resnet-fpn', neck=None)
        whole = mmcnn.build_backbone('resnet-fpn')
        torchvision = mmcnn.build_backbone('resnet-fpn-tv')
    assert mmcnn.count_parameters(bare) == (23_587_712, 23_534_592)
    assert mmcnn.count_parameters(whole) == (23_587_712 + PYRAMID, 23_534_592 + PYRAMID)
    # torchvision's resnet50_fpn: ResNet-50 without its classifier's 2,049,000, plus the pyramid.
    assert mmcnn.count_parameters(torchvision)[1] == 25_557_032 - 2_049_000 + PYRAMID


def test_pyramid_and_bare_trunk():
    with torch.device('meta'):
        whole, bare = mmcnn.build_backbone('resnet-fpn'), mmcnn.build_backbone('resnet-fpn', neck=None)
        trunk = mmcnn.build_backbone('resnet50')
    assert (whole.levels, whole.out_indices, whole.out_channels) == ((2, 3, 4, 5, 6), (2, 3, 4, 5, 6), (256,) * 5)
    assert (bare.levels, bare.out_indices, bare.out_channels) == ((1, 2, 3, 4, 5), (2, 3, 4, 5), (256, 512, 1024, 2048))
    assert bare.state_dict().keys() == trunk.state_dict().keys() < whole.state_dict().keys()
    with pytest.raises(ValueError, match="neck='FPN' of resnet-fpn must be 'pyramid' or None"):
        mmcnn.build_backbone('resnet-fpn', neck='FPN')


@pytest.mark.parametrize(
    ('levels', 'start', 'end', 'outputs'),
    [((2, 3, 4, 5, 6), 0, -1, 5), ((3, 4, 5), 1, -1, 3), ((2, 3, 4), 0, 2, 3), ((2, 6), 0, -1, 5), ((4,), 2, 2, 1)],
)
def test_equals_mmdet_with_the_same_weights(levels, start, end, outputs):
    """The peer is the same ResNet with MMDetection's FPN over the requested levels."""
    from mmdet.models.necks import FPN

    ours = mmcnn.build_backbone('resnet-fpn-tv', **SMALL, out_indices=levels).eval()
    trunk = mmcnn.build_backbone('resnet50-tv', **SMALL, out_indices=(2, 3, 4, 5)).eval()
    trunk.load_state_dict(ours.state_dict(), strict=False)
    peer = FPN(list(trunk.out_channels), 64, outputs, start_level=start, end_level=end)
    state = {}
    for key, value in peer.state_dict().items():
        kind, index, _, array = key.split('.')
        name = f'{dict(lateral_convs="lateral", fpn_convs="output")[kind]}{int(index) + 2 + start}.{array}'
        if name in ours.state_dict():
            state[key] = ours.state_dict()[name]
        else:  # used by no requested output
            assert kind == 'fpn_convs' and int(index) + 2 not in levels
            state[key] = value
    peer.load_state_dict(state)
    image = torch.randn(1, 3, 97, 130)
    expected = dict(enumerate(peer(trunk(image)), start=2 + start))
    for level, x in zip(levels, ours(image), strict=True):
        torch.testing.assert_close(x, expected[level])


def test_initialised_as_mmdet_does_it():
    backbone = mmcnn.build_backbone('resnet-fpn', **SMALL)
    bound = (6 / (9 * 64 + 9 * 64)) ** 0.5  # Glorot's for 3x3 from 64 to 64 channels
    assert 0.99 * bound < backbone.output2.weight.abs().max() <= bound
    assert (backbone.output2.bias == 0).all() and (backbone.lateral5.bias == 0).all()


def test_every_parameter_is_used_whatever_is_asked_for():
    for levels in ((2, 6), (2, 4), (3, 5), (2,), (5,), (6,)):
        backbone = mmcnn.build_backbone('resnet-fpn', **SMALL, out_indices=levels)
        sum(x.square().mean() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
        assert all(p.grad is not None for p in backbone.parameters()), levels


def test_takes_the_weights_of_a_classifier(tmp_path):
    source = mmcnn.build_classifier('resnet50', 7, **SMALL)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'resnet50.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet50.pth'), prefix='backbone.')
    torch.manual_seed(1)
    loaded = mmcnn.build_backbone('resnet-fpn', **SMALL, init_cfg=init_cfg).state_dict()
    torch.manual_seed(1)
    new = mmcnn.build_backbone('resnet-fpn', **SMALL).state_dict()
    for key, value in loaded.items():
        expected = new[key] if key.startswith(('lateral', 'output')) else source.state_dict()[f'backbone.{key}']
        assert torch.equal(value, expected), key

    # A file that lacks part of the pyramid or of the ResNet is an error.
    for dropped in ('output3.weight', 'stem.conv.weight'):
        broken = {key: value for key, value in new.items() if key != dropped}
        torch.save(broken, tmp_path / 'broken.pth')
        with pytest.raises(CheckpointError, match=f'1 missing: {dropped}'):
            init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'broken.pth'))
            mmcnn.build_backbone('resnet-fpn', **SMALL, init_cfg=init_cfg)


def test_freezing_leaves_the_pyramid():
    backbone = mmcnn.build_backbone('resnet-fpn', **SMALL, frozen_stages=6)
    free = {key.split('.')[0] for key, p in backbone.named_parameters() if p.requires_grad}
    assert free == {f'{part}{level}' for part in ('lateral', 'output') for level in range(2, 6)}


def test_wires_a_detector_without_a_neck():
    wired = wire(
        dict(
            type='FasterRCNN',
            backbone=dict(type='mmcnn.resnet-fpn'),
            rpn_head=dict(type='RPNHead', anchor_generator=dict(type='AnchorGenerator', strides=[4, 8, 16, 32, 64])),
            roi_head=dict(
                type='StandardRoIHead',
                bbox_roi_extractor=dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign')),
                bbox_head=dict(type='Shared2FCBBoxHead'),
            ),
        )
    )
    assert wired.rpn_head.in_channels == 256
    assert wired.roi_head.bbox_roi_extractor.featmap_strides == [4, 8, 16, 32]


def test_misspelt_neck_is_named():
    with pytest.raises(ValueError, match="ResNetFPN has no argument 'nek'; did you mean neck"):
        mmcnn.build_backbone('resnet-fpn', nek=None)
