"""Channels and strides of parts are read or probed, without memory and without changing the random state."""

import pytest
import torch

from mmcnn.errors import UsageError
from mmcnn.models.wiring.probing import Maps, levels_of, nearest_stride, probe


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


def test_what_the_meta_device_cannot_compute_runs_on_the_cpu():
    swin = dict(type='SwinTransformer', embed_dims=24, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    assert probe(swin) == Maps((24, 48, 96, 192), (4, 8, 16, 32))


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        # Its attribute in_channels belongs to its last stage.
        (dict(type='MobileNetV2', out_indices=(1, 2, 4, 6)), Maps((24, 32, 96, 320), (4, 8, 16, 32))),
        (dict(type='EfficientNet', arch='b0', out_indices=(2, 3, 4)), Maps((24, 40, 112), (4, 8, 16))),
    ],
)
def test_mmdets_backbones_take_images_of_three_channels(cfg, expected):
    assert probe(cfg) == expected


def test_weights_that_are_not_there_are_no_obstacle():
    pretrained = dict(type='Pretrained', checkpoint='/not/there.pth')
    vgg = dict(type='SSDVGG', depth=16, with_last_pool=False, ceil_mode=True, out_indices=(3, 4),
               out_feature_indices=(22, 34), init_cfg=pretrained)  # fmt: skip
    assert probe(vgg, side=300) == Maps((512, 1024), (8, 16))


@pytest.mark.parametrize(
    ('stride', 'expected'), [(8.0, 8), (300 / 38, 8), (30.0, 32), (60.0, 64), (100.0, 100), (300.0, 300), (160.0, 160)]
)
def test_strides_are_whole_pixels(stride, expected):
    """SSD's config for 300 pixels has 8, 16, 32, 64, 100, 300."""
    assert nearest_stride(stride) == expected


def test_levels_of_others_are_counted_by_their_strides():
    assert levels_of(dict(type='ResNet', depth=18), (8, 16, 32)) == (1, 2, 3)
    assert levels_of(dict(type='MobileNetV2'), (8, 16)) == (2, 4)
    assert levels_of(dict(type='ResNet', depth=18), (64,)) is None
    assert levels_of(dict(type='ResNet'), (8,)) is None  # its depth has no default


def test_what_runs_nowhere_is_refused_in_a_sentence():
    neck = dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2)
    with pytest.raises(UsageError, match=r'neck FPN does not run on maps of \[4, 8\] channels and strides \[8, 16\]: '):
        probe(neck, Maps((4, 8), (8, 16)))
