"""Mish on the CPU against float64: in float32, and in bfloat16 for every finite number of the type."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmcnn.models.layers import Mish
from mmcnn.models.layers.mish import _LEAST, _MishWithSlope
from mmcnn.registry import MODELS


def every_number():
    """All finite numbers of bfloat16, (65280,)."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return every[every.isfinite()]


@pytest.mark.parametrize('normal', [True, False])
def test_values_and_slopes_are_float64s_rounded(normal):
    x = every_number()
    x = x[(x >= -88) == normal].requires_grad_()
    wide = x.detach().double().requires_grad_()
    expected = F.mish(wide)
    expected.sum().backward()
    y = Mish()(x)
    y.sum().backward()
    # The sigmoid of the others is 0 in float32.
    assert type(y.grad_fn).__name__ == ('_MishWithSlopeBackward' if normal else 'MishBackward0')
    # Half a unit in the last of 8 bits; the slope also has float32's rounding of two terms that cancel at -1.19.
    assert ((y.double() - expected).abs() <= expected.abs() * 2.0**-8 + 1e-37).all()
    assert ((x.grad.double() - wide.grad).abs() <= wide.grad.abs() * 2.0**-8 + 2.0**-23).all()


@pytest.mark.parametrize('given', ['channels_last', 'strided', 'several chunks', 'nothing'])
def test_any_layout_is_kept_and_computed_number_by_number(given):
    x = torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    x = {
        'channels_last': lambda: x.to(memory_format=torch.channels_last),
        'strided': lambda: x[:, ::2],
        'several chunks': lambda: x.repeat(1, 30, 5, 5)[..., :-1].contiguous(),
        'nothing': lambda: x[:0],
    }[given]()
    leaf = x.detach().requires_grad_()
    y = Mish()(leaf)
    y.sum().backward()
    assert y.shape == leaf.grad.shape == x.shape and y.dtype == torch.bfloat16
    if given == 'channels_last':
        assert y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    single = x.reshape(-1).detach().requires_grad_()
    _MishWithSlope.apply(single).sum().backward()
    assert torch.equal(y.detach().reshape(-1), Mish()(single).detach())
    assert torch.equal(leaf.grad.reshape(-1), single.grad)


@pytest.mark.parametrize('threads', [1, 2])
def test_inference_is_as_precise_as_pytorchs(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = torch.linspace(-110, 40, 600_001)  # several chunks
        expected = F.mish(x.double())
        found, theirs = Mish()(x), F.mish(x)
    finally:
        torch.set_num_threads(before)
    assert not torch.equal(found, theirs)
    normal = expected.abs() > 1e-30
    errors = [((each - expected).abs() / expected.abs())[normal].max() for each in (found, theirs)]
    assert errors[0] < 4 * 2.0**-23 and errors[0] < 1.5 * errors[1]
    assert (found - expected).abs()[~normal].max() < 1e-30
    special = torch.tensor([float('inf'), float('nan'), 0.0, -0.0, 300.0, -300.0]).repeat(_LEAST)
    torch.testing.assert_close(Mish()(special), F.mish(special), rtol=0, atol=0, equal_nan=True)


def test_training_in_float32_is_as_precise_as_pytorchs():
    x = torch.linspace(-110, 40, 600_001)
    wide = x.double().requires_grad_()
    F.mish(wide).sum().backward()
    slopes = []
    for mish in (Mish(), F.mish):
        leaf = x.clone().requires_grad_()
        y = mish(leaf)
        y.sum().backward()
        slopes.append(leaf.grad)
        assert torch.equal(y.detach(), Mish()(x)) == (mish is not F.mish)
    errors = [(slope - wide.grad).abs() for slope in slopes]
    assert errors[0].max() < 4e-7 and errors[0].max() < errors[1].max()
    left = x < -5  # where the slope is small
    errors = [(error[left] / wide.grad[left].abs())[x[left] > -80].max() for error in errors]
    assert errors[0] < 2e-6 and errors[0] < 1.5 * errors[1]
    special = torch.tensor([float('inf'), float('nan'), 0.0, -0.0, 300.0, -300.0]).repeat(_LEAST).requires_grad_()
    (found,) = torch.autograd.grad(Mish()(special).sum(), special)
    torch.testing.assert_close(found[:6], torch.tensor([1.0, float('nan'), 0.6, 0.6, 1.0, 0.0]), equal_nan=True)


@pytest.mark.parametrize('gradient', ['of the same layout', 'of the other layout', 'expanded'])
@pytest.mark.parametrize('form', ['usual', 'channels_last', 'strided'])
def test_training_in_float32_in_any_layout(form, gradient):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 24, 61, 53, generator=generator)
    x = x.to(memory_format=torch.channels_last) if form == 'channels_last' else x
    x = x[:, 4:20, ::2] if form == 'strided' else x
    outer = torch.randn(x.shape, generator=generator)
    if gradient == 'expanded':
        outer = torch.tensor(2.0).expand_as(x)
    elif (gradient == 'of the same layout') == (form == 'channels_last'):
        outer = outer.to(memory_format=torch.channels_last)
    leaf, wide, kept = x.detach().requires_grad_(), x.double().requires_grad_(), x.clone()
    y = Mish(inplace=True)(leaf)
    y.backward(outer)
    F.mish(wide).backward(outer.double())
    assert type(y.grad_fn).__name__ == '_MishFromSigmoidBackward' and torch.equal(leaf, kept)
    torch.testing.assert_close(leaf.grad.double(), wide.grad, rtol=1e-5, atol=1e-6)
    assert y.is_contiguous(memory_format=torch.channels_last if form == 'channels_last' else torch.contiguous_format)


def test_second_derivatives_in_float32():
    x = torch.linspace(-8, 8, _LEAST)
    found = []
    for each in (x.requires_grad_(), x.detach().double().requires_grad_()):
        (slope,) = torch.autograd.grad(Mish()(each).square().sum(), each, create_graph=True)
        found.append(torch.autograd.grad(slope.sum(), each)[0])
    torch.testing.assert_close(found[0].double(), found[1], rtol=1e-4, atol=1e-5)


def test_inference_in_bfloat16_is_float64_rounded():
    x = every_number()
    expected = F.mish(x.double())
    tiny = 100 * torch.finfo(torch.float32).tiny  # below -88 the sigmoid is 0 in float32
    assert ((Mish()(x).double() - expected).abs() <= expected.abs() * 2.0**-8 + tiny).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('inplace', [False, True])
@pytest.mark.parametrize('form', ['usual', 'channels_last', 'strided', 'parameter'])
def test_inference_in_any_layout(form, inplace, dtype):
    x = torch.randn(4, 24, 61, 53, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x = x.to(memory_format=torch.channels_last) if form == 'channels_last' else x
    x = x[:, 4:20, ::2] if form == 'strided' else x
    x = torch.nn.Parameter(x) if form == 'parameter' else x
    expected, kept = F.mish(x.double()), x.detach().clone()
    with torch.no_grad():
        y = Mish(inplace=inplace)(x)
    torch.testing.assert_close(
        y.double(), expected.detach(), rtol=2.0**-8 if dtype == torch.bfloat16 else 1e-6, atol=1e-12
    )
    assert y.is_contiguous(memory_format=torch.channels_last if form == 'channels_last' else torch.contiguous_format)
    assert torch.equal(x, kept) == (form == 'strided' or type(x) is torch.nn.Parameter or not inplace)


def test_in_any_other_circumstance_it_is_pytorchs():
    x = torch.randn(100)
    half = x.bfloat16()
    large = torch.randn(_LEAST)
    for given in (x, x.requires_grad_(), half, x.double(), large.double(), large.double().requires_grad_()):
        assert torch.equal(Mish()(given), F.mish(given))
    counter = FlopCounterMode(display=False)
    with counter:  # whoever watches operators sees PyTorch's
        assert torch.equal(Mish()(large), F.mish(large))
    with torch.no_grad():
        assert torch.equal(Mish()(half.requires_grad_()), F.mish(half))
    traced = torch.jit.trace(Mish(), half.detach().requires_grad_())
    for each in (traced, torch.jit.trace(Mish(), large), torch.jit.trace(Mish(), large.clone().requires_grad_())):
        assert 'mish' in str(each.graph) and 'PythonOp' not in str(each.graph)
    assert isinstance(MODELS.build(dict(type='mmcnn.Mish')), torch.nn.Mish)


def test_transforms_and_second_derivatives():
    x = torch.randn(2, 3).bfloat16()
    each = torch.vmap(torch.func.grad(lambda x: Mish()(x).sum()))(x)
    together = torch.autograd.grad(F.mish(x.requires_grad_()).sum(), x)[0]
    torch.testing.assert_close(each, together)
    with pytest.raises(RuntimeError, match='second derivative of Mish in bfloat16'):
        torch.autograd.grad(Mish()(x).sum(), x, create_graph=True)
