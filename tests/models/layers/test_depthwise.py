"""Depthwise convolutions in bfloat16: the same outputs, gradients no less exact than PyTorch's."""

import pytest
import torch
from torch import nn

from mmcnn.models.layers import ConvNormAct, SameConv2d, depthwise
from mmcnn.models.layers.depthwise import convolve

SHAPES = [((5, 5), 1, 13), ((3, 3), 2, 14), ((5, 5), 2, 15), ((7, 7), 2, 16), ((3, 5), (2, 1), 11), ((5, 1), 2, 12)]
FORMATS = [torch.channels_last, torch.contiguous_format]


@pytest.fixture
def calls(monkeypatch):
    """The number of convolutions that were computed with other gradients than PyTorch's."""
    found, apply = [], depthwise._Depthwise.apply
    monkeypatch.setattr(depthwise._Depthwise, 'apply', lambda *args: found.append(1) or apply(*args))
    return found


def make(kernel, stride, same=False, bias=True):
    torch.manual_seed(0)
    padding = (0, 0) if same else (kernel[0] // 2, kernel[1] // 2)
    return (SameConv2d if same else nn.Conv2d)(8, 8, kernel, stride, padding, groups=8, bias=bias)


def images(size, layout=torch.channels_last):
    return torch.randn(2, 8, size, size).contiguous(memory_format=layout).requires_grad_()


def in_bfloat16(call, x):
    with torch.autocast('cpu', torch.bfloat16):
        return call(x)


@pytest.mark.parametrize('layout', FORMATS)
@pytest.mark.parametrize('same', [False, True])
@pytest.mark.parametrize(('kernel', 'stride', 'size'), SHAPES)
def test_gradients_are_as_exact_as_those_of_pytorch(kernel, stride, size, same, layout, calls):
    conv, x = make(kernel, stride, same), images(size, layout)
    found, plain = in_bfloat16(lambda x: convolve(conv, x), x), in_bfloat16(conv, x)
    assert len(calls) == 1 and found.dtype is torch.bfloat16 and torch.equal(found, plain)
    grad = torch.randn(found.shape)
    inputs = (x, conv.weight, conv.bias)
    ours, theirs = (torch.autograd.grad(out, inputs, grad.bfloat16()) for out in (found, plain))
    exact = torch.autograd.grad(conv.double()(x.double()), inputs, grad.double())
    for a, b, c in zip(ours, theirs, exact, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert (a - c).abs().max() <= 1.1 * (b - c).abs().max() < 0.02 * c.abs().max()


def test_without_autocast_a_network_in_bfloat16_is_computed_likewise(calls):
    conv, x = make((5, 5), 2, bias=False).bfloat16(), images(9).detach().bfloat16()
    convolve(conv, x).float().sum().backward()
    ours, conv.weight.grad = conv.weight.grad, None
    conv(x).float().sum().backward()
    assert len(calls) == 1 and torch.allclose(ours.float(), conv.weight.grad.float(), rtol=0.02)


@pytest.mark.parametrize('frozen', ['input', 'weight'])
def test_only_the_gradients_that_are_needed(frozen, calls):
    conv, x = make((5, 5), 2), images(9)
    (x if frozen == 'input' else conv.weight).requires_grad_(False)
    in_bfloat16(lambda x: convolve(conv, x), x).float().square().sum().backward()
    assert len(calls) == 1
    assert (x.grad is None) == (frozen == 'input') and (conv.weight.grad is None) == (frozen == 'weight')


def test_gradients_of_gradients(calls):
    conv, x = make((5, 5), 2), images(9)

    def second(call):
        (grad,) = torch.autograd.grad(in_bfloat16(call, x).float().square().sum(), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), conv.weight)[0]

    assert torch.allclose(second(lambda x: convolve(conv, x)), second(conv), rtol=0.05, atol=0.05)
    assert len(calls) == 1


def test_gradients_of_several_losses_at_once(calls):
    conv, x = make((5, 5), 2), images(9)
    found, plain = in_bfloat16(lambda x: convolve(conv, x), x), in_bfloat16(conv, x)
    grads = torch.randn(3, *found.shape).bfloat16()
    ours, theirs = (torch.autograd.grad(out, x, grads, is_grads_batched=True)[0] for out in (found, plain))
    assert len(calls) == 1 and torch.allclose(ours, theirs, rtol=0.02, atol=0.02)


def test_other_types_are_as_pytorch_has_them(calls):
    conv, x = make((5, 5), 2).double(), images(9).double()
    assert in_bfloat16(lambda x: convolve(conv, x), x).dtype is in_bfloat16(conv, x).dtype is torch.float64
    with pytest.raises(RuntimeError, match='type'):
        convolve(make((5, 5), 2), images(9).bfloat16())
    assert not calls


def replaced(conv):
    conv.forward = lambda x: nn.Conv2d.forward(conv, x) + 1
    return conv


def hooked(conv):
    conv.register_forward_hook(lambda module, args, out: out * 2)
    return conv


@pytest.mark.parametrize(
    'conv',
    [
        make((3, 3), 1),  # oneDNN's own kernels are fast
        nn.Conv2d(8, 8, 5, 1, 2),
        nn.Conv2d(8, 16, 5, 1, 2, groups=8),
        nn.Conv2d(8, 8, 5, 1, 4, dilation=2, groups=8),
        nn.Conv2d(8, 8, 5, 1, 2, groups=8, padding_mode='reflect'),
        nn.Conv2d(8, 8, 5, 1, 'same', groups=8),
        make((5, 1), 1),
        hooked(make((5, 5), 1)),
        replaced(make((5, 5), 1)),
        nn.Sequential(make((5, 5), 1)),
    ],
)
def test_everything_else_is_left_to_pytorch(conv, calls):
    x = images(9)
    assert torch.equal(in_bfloat16(lambda x: convolve(conv, x), x), in_bfloat16(conv, x))
    assert not calls


def test_only_gradients_in_bfloat16_are_computed_otherwise(calls):
    conv, x = make((5, 5), 2), images(9)
    convolve(conv, x)
    with torch.no_grad():
        in_bfloat16(lambda x: convolve(conv, x), x)
    unit = ConvNormAct(8, 8, 5, 2, groups=8, norm_cfg=None, act_cfg=None)
    with torch.autocast('cpu', torch.bfloat16, cache_enabled=False):
        traced = torch.jit.trace(unit, x)
    assert not calls and '_convolution' in str(traced.inlined_graph)


def test_units_use_it_in_training(calls):
    unit = ConvNormAct(8, 8, 5, 2, groups=8, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    in_bfloat16(unit, images(9)).float().sum().backward()
    assert len(calls) == 1 and unit.conv.weight.grad.abs().sum() > 0
