import math

import pytest
import torch
from torch import nn

import mmcnn


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize(
    ('name', 'total', 'trainable'),
    [
        ('resnet50v2', 25_613_800, 25_568_360),
        ('resnet101v2', 44_675_560, 44_577_896),
        ('resnet152v2', 60_380_648, 60_236_904),
    ],
)
def test_published_counts(name, total, trainable):
    assert mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name)) == (total, trainable)


def test_maps_of_the_paper():
    """Table 1 of arXiv 1512.03385, column 50-layer."""
    backbone = on_meta(mmcnn.build_backbone, 'resnet50v2', out_indices=(1, 2, 3, 4, 5))
    maps = backbone(torch.empty(1, 3, 224, 224, device='meta'))
    expected = [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert [tuple(x.shape[1:]) for x in maps] == expected


def test_stages_open_with_the_block_that_halves():
    """Keras strides in conv2_block3, conv3_block4 and conv4_block6; our stages start there."""
    backbone = on_meta(mmcnn.build_backbone, 'resnet50v2')
    strided = {k for k, m in backbone.named_modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)}
    assert strided == {'stem.conv', *(f'stage{i}.down.conv2.conv' for i in (2, 3, 4))}
    assert [len(getattr(backbone, f'stage{i}').blocks) for i in (1, 2, 3, 4)] == [2, 3, 5, 3]


def test_biases_are_where_keras_has_them():
    backbone = on_meta(mmcnn.build_backbone, 'resnet50v2')
    biased = {
        k.rpartition('.')[2] if 'stage' in k else k
        for k, m in backbone.named_modules()
        if isinstance(m, nn.Conv2d) and m.bias is not None
    }
    assert biased == {'stem.conv', 'conv3', 'project'}
    assert sum(isinstance(m, nn.BatchNorm2d) for m in backbone.modules()) == 49  # three in each block, and the last one
    assert {m.eps for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {1.001e-5}


def test_zeros_around_the_first_pool_count():
    pool = mmcnn.build_backbone('resnet50v2', out_indices=(2,), widen_factor=0.25).stage1.down
    maximum = pool(torch.full((1, 1, 6, 7), -1.0))
    assert maximum.shape == (1, 1, 3, 4)
    assert maximum[0, 0].tolist() == [[0, 0, 0, 0], [0, -1, -1, 0], [0, -1, -1, 0]]


@pytest.mark.parametrize('size', [(5, 8), (6, 7)])
def test_strided_block_takes_every_second_pixel(size):
    """If its last convolution is zero, a strided block is its shortcut."""
    block = mmcnn.build_backbone('resnet50v2', out_indices=(3,), widen_factor=0.25).stage2.down
    nn.init.zeros_(block.conv3.weight), nn.init.zeros_(block.conv3.bias)
    x = torch.randn(1, 64, *size)
    out = block(x)
    assert tuple(out.shape[2:]) == tuple(math.ceil(side / 2) for side in size)
    assert torch.equal(out, x[..., ::2, ::2])


def test_last_level_is_activated_and_the_others_are_not():
    torch.manual_seed(0)
    maps = mmcnn.build_backbone('resnet50v2', widen_factor=0.25, deepen_factor=0.33).eval()(torch.randn(1, 3, 96, 96))
    assert [bool((x < 0).any()) for x in maps] == [True, True, True, False]
