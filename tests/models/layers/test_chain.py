import pytest
import torch

from mmcnn.models.layers import AveragePool, Chain, Conv, MaxPool, chain_channels, widen_chain

CONV = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
#: 3x3 of stride 2, then a fork of three, one of which forks again.
TABLE = (
    Conv(6, 3, stride=2),
    (
        (Conv(4),),
        (Conv(2, (1, 3)), ((Conv(3, (3, 1)),), (Conv(5),))),
        (AveragePool(),),
    ),
)


def test_forks_are_concatenated():
    assert chain_channels(TABLE, 3) == 4 + (3 + 5) + 6
    chain = Chain(3, TABLE, **CONV)
    assert chain(torch.empty(1, 3, 9, 14)).shape == (1, 18, 5, 7)
    kernels = {k: tuple(v.shape) for k, v in chain.state_dict().items() if k.endswith('conv.weight')}
    assert kernels == {
        '0.conv.weight': (6, 3, 3, 3),
        '1.0.0.conv.weight': (4, 6, 1, 1),
        '1.1.0.conv.weight': (2, 6, 1, 3),
        '1.1.1.0.0.conv.weight': (3, 2, 3, 1),
        '1.1.1.1.0.conv.weight': (5, 2, 1, 1),
    }


def test_widths_scale_and_pools_stay():
    wide = widen_chain(TABLE, lambda channels: 10 * channels)
    assert chain_channels(wide, 3) == 40 + 80 + 60
    assert wide[1][2] == (AveragePool(),) and wide[0] == Conv(60, 3, stride=2)


@pytest.mark.parametrize(
    ('layer', 'padding', 'size'),
    [
        (Conv(4, 3, stride=2), 'same', (6, 5)),
        (Conv(4, 3, stride=2), 'valid', (5, 4)),
        (MaxPool(), 'same', (6, 5)),
        (MaxPool(), 'valid', (5, 4)),
        (Conv(4, 3), 'valid', (11, 10)),
        (Conv(4, 3, valid=True), 'valid', (9, 8)),
        (Conv(4, 3, valid=True), 'same', (11, 10)),
        (Conv(4, (1, 7)), 'valid', (11, 10)),
        (AveragePool(), 'valid', (11, 10)),
    ],
)
def test_sizes_of_an_11_by_10_map(layer, padding, size):
    assert Chain(4, (layer,), padding, **CONV)(torch.empty(1, 4, 11, 10)).shape == (1, 4, *size)


def test_average_is_of_the_pixels_inside():
    x = torch.ones(1, 1, 5, 5)
    assert torch.equal(Chain(1, (AveragePool(),), **CONV)(x), x)
