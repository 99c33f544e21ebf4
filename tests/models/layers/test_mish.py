"""Mish in bfloat16 on the CPU, for every finite number of the type, against float64."""

import pytest
import torch
from torch.nn import functional as F

from mmcnn.models.layers import Mish
from mmcnn.models.layers.mish import _MishWithSlope
from mmcnn.registry import MODELS


def every_number():
    """All finite numbers of bfloat16, (65280,)."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return every[every.isfinite()]


def test_values_and_slopes_are_float64s_rounded():
    x = every_number().requires_grad_()
    wide = x.detach().double().requires_grad_()
    expected = F.mish(wide)
    expected.sum().backward()
    y = Mish()(x)
    y.sum().backward()
    assert type(y.grad_fn).__name__ == '_MishWithSlopeBackward'
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


def test_in_any_other_circumstance_it_is_pytorchs():
    x = torch.randn(100)
    half = x.bfloat16()
    for given in (x, x.requires_grad_(), half, x.double()):
        assert torch.equal(Mish()(given), F.mish(given))
    with torch.no_grad():
        assert torch.equal(Mish()(half.requires_grad_()), F.mish(half))
    traced = torch.jit.trace(Mish(), half.detach().requires_grad_())
    assert 'mish' in str(traced.graph) and 'PythonOp' not in str(traced.graph)
    assert isinstance(MODELS.build(dict(type='mmcnn.Mish')), torch.nn.Mish)


def test_transforms_and_second_derivatives():
    x = torch.randn(2, 3).bfloat16()
    each = torch.vmap(torch.func.grad(lambda x: Mish()(x).sum()))(x)
    together = torch.autograd.grad(F.mish(x.requires_grad_()).sum(), x)[0]
    torch.testing.assert_close(each, together)
    with pytest.raises(RuntimeError, match='second derivative of Mish in bfloat16'):
        torch.autograd.grad(Mish()(x).sum(), x, create_graph=True)
