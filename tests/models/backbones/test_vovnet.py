import pytest
import torch
from torch import nn

import mmcnn
from mmcnn.models.backbones.vovnet import EffectiveSqueezeExcite, OneShotAggregation

WIDE = dict(stem=(64, 64, 128), inner=(128, 160, 192, 224), out=(256, 512, 768, 1024))
SLIM = dict(stem=(64, 64, 128), inner=(64, 80, 96, 112), out=(128, 256, 384, 512))
# Widths, 3x3 per module, modules per stage: Table 1 of arXiv 1904.09730, and VoVNetV2.
TABLE = {
    'vovnet27-slim': (SLIM, 5, (1, 1, 1, 1)),
    'vovnet39': (WIDE, 5, (1, 1, 2, 2)),
    'vovnet57': (WIDE, 5, (1, 1, 4, 3)),
    'vovnetv2-19': (WIDE, 3, (1, 1, 1, 1)),
    'vovnetv2-39': (WIDE, 5, (1, 1, 2, 2)),
    'vovnetv2-57': (WIDE, 5, (1, 1, 4, 3)),
    'vovnetv2-99': (WIDE, 5, (1, 3, 9, 3)),
}
# Trainable parameters with 1000 classes: imgclsmob's counts of the authors' networks; eSE adds (c + 1) * c per stage.
ESE = 256 * 257 + 512 * 513 + 768 * 769 + 1024 * 1025
PUBLISHED = {
    'vovnet27-slim': 3_525_736,
    'vovnet39': 22_600_296,
    'vovnet57': 36_640_296,
    'vovnetv2-39': 22_600_296 + ESE,
    'vovnetv2-57': 36_640_296 + ESE,
}


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_counts(name):
    assert mmcnn.count_parameters(on_meta(mmcnn.build_classifier, name))[1] == PUBLISHED[name]


@pytest.mark.parametrize('name', TABLE)
def test_counts_by_the_table(name):
    widths, layers, depths = TABLE[name]
    first, second, third = widths['stem']
    convs = [(3, 9, first), (first, 9, second), (second, 9, third)]
    squeezes, channels = 0, third
    for inner, out, depth in zip(widths['inner'], widths['out'], depths, strict=True):
        for _ in range(depth):
            convs += [(channels, 9, inner), *[(inner, 9, inner)] * (layers - 1)]
            convs.append((channels + layers * inner, 1, out))
            channels = out
        squeezes += out * out + out if 'v2' in name else 0
    trainable = sum(c * k * out + 2 * out for c, k, out in convs) + squeezes
    statistics = 2 * sum(out for _, _, out in convs)
    assert mmcnn.count_parameters(on_meta(mmcnn.build_backbone, name)) == (trainable + statistics, trainable)


@pytest.mark.parametrize('name', TABLE)
def test_maps_of_the_table(name):
    backbone = on_meta(mmcnn.build_backbone, name, out_indices=(1, 2, 3, 4, 5))
    maps = backbone(torch.empty(1, 3, 224, 224, device='meta'))
    channels = (64, *TABLE[name][0]['out'])
    assert [tuple(x.shape[1:]) for x in maps] == [
        (c, side, side) for c, side in zip(channels, (112, 56, 28, 14, 7), strict=True)
    ]


@pytest.mark.parametrize('name', TABLE)
def test_name_counts_the_convolutions(name):
    """The number in the name counts 3 in the stem, and the 3x3 and the 1x1 of each module."""
    number = int(name.removesuffix('-slim').removeprefix('vovnetv2-').removeprefix('vovnet'))
    modules = on_meta(mmcnn.build_backbone, name).modules()
    squeezes = 4 if 'v2' in name else 0
    assert sum(isinstance(m, nn.Conv2d) for m in modules) == number + squeezes


def test_v2_has_shortcuts_but_first_and_squeezes_last():
    for name, modules in (('vovnetv2-99', (1, 3, 9, 3)), ('vovnet57', (1, 1, 4, 3))):
        v2 = 'v2' in name
        backbone = on_meta(mmcnn.build_backbone, name)
        for stage, depth in zip((f'stage{i}' for i in (2, 3, 4, 5)), modules, strict=True):
            osa = [m for m in getattr(backbone, stage) if isinstance(m, OneShotAggregation)]
            assert [m.shortcut for m in osa] == [v2 and i > 0 for i in range(depth)]
            squeezes = [isinstance(m.squeeze, EffectiveSqueezeExcite) for m in osa]
            assert squeezes == [v2 and i == depth - 1 for i in range(depth)]


def test_aggregation_by_hand():
    """Ones through two 3x3 with centre taps 2 and 3 give maps of 1, 2 and 6: their sum is 9, with the input 10."""
    osa = OneShotAggregation(1, 1, 1, 2, shortcut=True, squeeze=False, norm_cfg=None, act_cfg=dict(type='ReLU'))
    with torch.no_grad():
        for parameter in osa.parameters():
            parameter.zero_()
        osa.convs[0].conv.weight[..., 1, 1] = 2
        osa.convs[1].conv.weight[..., 1, 1] = 3
        osa.aggregate.conv.weight.fill_(1)
    x = torch.ones(1, 1, 4, 4)
    assert torch.equal(osa(x), torch.full_like(x, 10.0))


@pytest.mark.parametrize(('bias', 'gate'), [(0.0, 0.5), (1.5, 0.75), (3.0, 1.0), (-3.0, 0.0)])
def test_gate_of_the_squeeze(bias, gate):
    squeeze = EffectiveSqueezeExcite(2)
    nn.init.zeros_(squeeze.conv.weight)
    nn.init.constant_(squeeze.conv.bias, bias)
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(squeeze(x), gate * x)
