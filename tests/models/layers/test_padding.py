"""'same' padding against TensorFlow's published rule, by hand and exhaustively."""

import pytest
import torch
from torch.nn import functional as F

from mmcnn.models.layers import SameConv2d, SameMaxPool2d, max_pool
from mmcnn.models.layers.padding import pad_same, same_padding


@pytest.mark.parametrize(
    ('size', 'kernel', 'stride', 'pads'),
    [
        # By hand: ceil(size / stride) outputs span (outputs - 1) * stride + kernel pixels.
        (224, 3, 2, (0, 1)),
        (225, 3, 2, (1, 1)),
        (224, 5, 2, (1, 2)),
        (7, 3, 1, (1, 1)),
        (7, 2, 2, (0, 1)),
        (8, 1, 2, (0, 0)),
        (224, 7, 2, (2, 3)),
    ],
)
def test_pads_by_hand(size, kernel, stride, pads):
    assert same_padding(size, kernel, stride) == pads


@pytest.mark.parametrize('size', [(8, 8), (9, 12), (7, 5)], ids=str)
@pytest.mark.parametrize('kernel', [(3, 3), (5, 5), (1, 7), (2, 2)], ids=str)
@pytest.mark.parametrize('stride', [1, 2, 3])
def test_every_output_sees_the_window_that_the_rule_gives_it(size, kernel, stride):
    conv = SameConv2d(2, 3, kernel, stride).double()
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    out = conv(x)
    assert out.shape == (1, 3, -(-size[0] // stride), -(-size[1] // stride))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            expected = conv.bias.clone()
            for di in range(kernel[0]):
                for dj in range(kernel[1]):
                    row = i * stride + di - same_padding(size[0], kernel[0], stride)[0]
                    column = j * stride + dj - same_padding(size[1], kernel[1], stride)[0]
                    if 0 <= row < size[0] and 0 <= column < size[1]:
                        expected = expected + conv.weight[:, :, di, dj] @ x[0, :, row, column]
            assert torch.allclose(out[0, :, i, j], expected)


def test_padding_never_wins_a_maximum():
    x = -torch.rand(1, 1, 6, 6) - 1
    assert (SameMaxPool2d(3, 2)(x) < 0).all()


def test_even_sizes_pool_as_in_caffe():
    x = torch.randn(2, 3, 12, 8)
    assert torch.equal(max_pool(3, 2)(x), F.max_pool2d(x, 3, 2, ceil_mode=True))
    assert torch.equal(max_pool(3, 2, 'valid')(x), F.max_pool2d(x, 3, 2))


def tensorflow_pads(size, kernel, stride):
    """The case distinction of TensorFlow's documentation of 'SAME'."""
    along = max(kernel - stride, 0) if size % stride == 0 else max(kernel - size % stride, 0)
    return along // 2, along - along // 2


@pytest.mark.parametrize('stride', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('kernel', [1, 2, 3, 4, 5, 6, 7, 11])
def test_pads_are_tensorflows(kernel, stride):
    for size in range(1, 70):
        assert same_padding(size, kernel, stride) == tensorflow_pads(size, kernel, stride), size


def record(module, x, how):
    """Return a graph of a module, recorded at the size of ``x``."""
    if how == 'trace':
        return torch.jit.trace(module, x)
    sides = {2: torch.export.Dim('height', min=8), 3: torch.export.Dim('width', min=8)}
    return torch.export.export(module, (x,), dynamic_shapes=(sides,)).module()


@pytest.mark.parametrize('how', ['trace', 'export'])
@pytest.mark.parametrize(('kernel', 'stride'), [(3, 2), (1, 2), (2, 4)])
def test_recorded_at_one_size_right_at_others(kernel, stride, how):
    pool = SameMaxPool2d(kernel, stride)
    x = torch.randn(1, 2, 11, 12)
    recorded = record(pool, x, how)
    for height in range(8, 14):
        for width in range(8, 14):
            x = torch.randn(1, 2, height, width)
            assert torch.equal(recorded(x), pool(x)), (height, width)
            top, bottom = tensorflow_pads(height, kernel, stride)
            left, right = tensorflow_pads(width, kernel, stride)
            padded = F.pad(x, (left, right, top, bottom), value=float('-inf'))
            assert torch.equal(pool(x), F.max_pool2d(padded, kernel, stride))


@pytest.mark.parametrize('how', ['trace', 'export'])
@pytest.mark.parametrize(('kernel', 'stride'), [(6, 2), (3, 2), (3, 1)])
@pytest.mark.parametrize('size', [(12, 10), (11, 13)], ids=str)
def test_convolution_recorded_at_one_size_is_right_at_others(kernel, stride, size, how):
    conv = SameConv2d(2, 3, kernel, stride)
    recorded = record(conv, torch.randn(1, 2, *size), how)
    for height in range(8, 14):
        for width in range(8, 14):
            x = torch.randn(1, 2, height, width)
            (top, bottom), (left, right) = (tensorflow_pads(side, kernel, stride) for side in (height, width))
            expected = F.conv2d(F.pad(x, (left, right, top, bottom)), conv.weight, conv.bias, stride)
            for found in (conv(x), recorded(x)):
                torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(('size', 'copies'), [((12, 8), False), ((13, 8), True), ((12, 7), True)], ids=str)
def test_a_convolution_pads_by_itself_if_both_sides_are_equal(size, copies):
    x = torch.randn(2, 3, *size, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.data_ptr()), lambda each: each):
        SameConv2d(3, 4, 6, 2)(x)
    assert (x.data_ptr() not in kept) == copies


@pytest.mark.parametrize('size', [(12, 8), (13, 9)], ids=str)
@pytest.mark.parametrize(
    'setting', [dict(dilation=2), dict(padding=1), dict(padding_mode='reflect', padding=2), dict(groups=2, bias=False)]
)
@pytest.mark.parametrize(('kernel', 'stride'), [(3, 2), (6, 2), (3, 1)])
def test_other_settings_of_a_convolution_are_used(kernel, stride, setting, size):
    x = torch.randn(1, 4, *size)
    conv = SameConv2d(4, 6, kernel, stride, **setting)
    plain = torch.nn.Conv2d(4, 6, kernel, stride, **setting)
    plain.load_state_dict(conv.state_dict())
    torch.testing.assert_close(conv(x), plain(pad_same(x, (kernel,) * 2, (stride,) * 2)))


def test_what_needs_no_padding_is_not_copied():
    x = torch.randn(1, 2, 8, 6)
    assert pad_same(x, (2, 2), (2, 2)) is x


@pytest.mark.parametrize('size', [(12, 8), (13, 8), (7, 9), (5, 6)], ids=str)
@pytest.mark.parametrize('kernel', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('stride', [1, 2, 3])
def test_pools_without_a_padded_copy(size, kernel, stride):
    pool = SameMaxPool2d(kernel, stride)
    x = torch.randn(2, 3, *size, requires_grad=True)
    padded = F.max_pool2d(pad_same(x, (kernel,) * 2, (stride,) * 2, float('-inf')), kernel, stride)
    out = pool(x)
    assert torch.equal(out, padded)
    assert torch.equal(*(torch.autograd.grad(each.square().sum(), x)[0] for each in (out, padded)))
    if stride > 1:
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.data_ptr()), lambda each: each):
            pool(x)
        assert x.data_ptr() in kept


@pytest.mark.parametrize(
    'setting', [dict(dilation=2), dict(return_indices=True), dict(ceil_mode=True), dict(padding=1)]
)
def test_other_settings_of_a_pool_are_used(setting):
    x = torch.randn(1, 2, 12, 9)
    padded = pad_same(x, (3, 3), (2, 2), float('-inf'))
    found, expected = SameMaxPool2d(3, 2, **setting)(x), F.max_pool2d(padded, 3, 2, **setting)
    for each, other in zip(*((one if isinstance(one, tuple) else (one,)) for one in (found, expected)), strict=True):
        assert torch.equal(each, other)
