import pytest
import torch
from torch.nn import functional as F

from mmcnn.models.layers import AveragePool, Chain, Conv, LocalNorm, MaxPool, chain_channels, widen_chain

CONV = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
#: A 3x3 of stride 2, then a fork into three branches, one of which forks again.
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
        (Conv(4, 7, stride=2), None, (6, 5)),
        (MaxPool(kernel=2), 'same', (6, 5)),
        (MaxPool(), None, (6, 5)),
        (MaxPool(stride=1), 'valid', (11, 10)),
        (AveragePool(), 'valid', (11, 10)),
        (LocalNorm(), 'valid', (11, 10)),
    ],
)
def test_sizes_of_an_11_by_10_map(layer, padding, size):
    assert Chain(4, (layer,), padding, **CONV)(torch.empty(1, 4, 11, 10)).shape == (1, 4, *size)


def test_average_is_of_the_pixels_inside():
    x = torch.ones(1, 1, 5, 5)
    assert torch.equal(Chain(1, (AveragePool(),), **CONV)(x), x)


def test_average_counts_the_padding_if_asked_also_in_a_fork():
    pool = Chain(1, (((AveragePool(),),),), count_padding=True, **CONV)
    corner, edge, inside = pool(torch.ones(1, 1, 5, 5))[0, 0].flatten()[[0, 1, 6]].tolist()
    assert [corner, edge, inside] == pytest.approx([4 / 9, 6 / 9, 1])


def test_max_pool_of_stride_1_spreads_the_maximum_only():
    x = torch.full((1, 1, 4, 5), -2.0)
    x[0, 0, 0, 0] = -1
    expected = torch.full((1, 1, 4, 5), -2.0)
    expected[0, 0, :2, :2] = -1
    assert torch.equal(Chain(1, (MaxPool(stride=1),), **CONV)(x), expected)


@pytest.mark.parametrize(('padding', 'pads'), [(None, (1, 1, 1, 1)), ('same', (0, 1, 0, 1))])
def test_where_a_strided_convolution_is_padded_at_an_even_size(padding, pads):
    chain = Chain(2, (((Conv(4, 3, stride=2),),),), padding, norm_cfg=None, act_cfg=None)
    x, conv = torch.randn(1, 2, 6, 8), chain[0][0][0].conv
    torch.testing.assert_close(chain(x), F.conv2d(F.pad(x, pads), conv.weight, conv.bias, stride=2))


def test_local_norm_has_alexnets_constants():
    x = torch.rand(1, 7, 1, 1) * 100
    squares = F.pad(x.square().flatten(), (2, 2)).unfold(0, 5, 1).sum(dim=1).view_as(x)  # sums over 5 channels
    expected = x / (1 + 1e-4 / 5 * squares) ** 0.75
    torch.testing.assert_close(Chain(7, (LocalNorm(),), **CONV)(x), expected)
