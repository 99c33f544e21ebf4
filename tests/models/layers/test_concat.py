"""Concatenation of maps: the numbers of ``torch.cat``, and gradients that are fast to use."""

import pytest
import torch
from torch.autograd import gradcheck

from mmcnn.models.layers import concatenate

CHANNELS = (16, 8, 40)


def maps(dtype=torch.float32, memory_format=torch.channels_last):
    generator = torch.Generator().manual_seed(0)
    for channels in CHANNELS:
        x = torch.randn(2, channels, 6, 5, generator=generator).to(dtype).to(memory_format=memory_format)
        yield x.requires_grad_()


def gradients(of, given, factors):
    seen = []
    for x in given:
        x.register_hook(seen.append)
    out = of(given)
    (out * factors).sum().backward()
    return out, seen


@pytest.mark.parametrize('memory_format', [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_numbers_are_those_of_torch(dtype, memory_format):
    given, same = [*maps(dtype, memory_format)], [*maps(dtype, memory_format)]
    factors = torch.randn(2, sum(CHANNELS), 6, 5).to(dtype).to(memory_format=memory_format)
    out, found = gradients(concatenate, given, factors)
    expected, wanted = gradients(lambda parts: torch.cat(parts, 1), same, factors)
    assert torch.equal(out, expected) and out.stride() == expected.stride()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(given, same, strict=True))
    assert {x.shape for x in found} == {x.shape for x in wanted} and len(found) == 3


def test_narrow_gradients_are_contiguous_and_wide_ones_are_not_copied():
    factors = torch.randn(2, sum(CHANNELS), 6, 5).to(memory_format=torch.channels_last)
    _, found = gradients(concatenate, [*maps()], factors)
    contiguous = {x.shape[1]: x.is_contiguous(memory_format=torch.channels_last) for x in found}
    assert contiguous == {16: True, 8: True, 40: False}
    _, found = gradients(lambda parts: torch.cat(parts, 1), [*maps()], factors)
    assert not any(x.is_contiguous(memory_format=torch.channels_last) for x in found)


def test_some_maps_have_no_gradient_and_some_other_precisions():
    frozen, trained = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4, requires_grad=True)
    half = trained.to(torch.bfloat16)
    out = concatenate([frozen, half])
    assert out.dtype is torch.float32 and torch.equal(out[:, 8:], half.float())
    out[:, 8:].sum().backward()
    assert torch.equal(trained.grad, torch.ones_like(trained)) and frozen.grad is None


def test_gradients_have_gradients():
    given = [x.detach().double().requires_grad_() for x in maps()]
    given = [x[:, :2, :2, :2].detach().contiguous(memory_format=torch.channels_last).requires_grad_() for x in given]
    assert gradcheck(lambda *parts: concatenate(parts).square(), given)
    assert torch.autograd.gradgradcheck(lambda *parts: concatenate(parts).square(), given)


def test_a_tracer_sees_torchs_operator():
    class Both(torch.nn.Module):
        def forward(self, x):
            return concatenate([x * 2, x])

    x = torch.randn(1, 4, 3, 3, requires_grad=True)
    kinds = [node.kind() for node in torch.jit.trace(Both(), x).graph.nodes()]
    assert 'aten::cat' in kinds and not any('Python' in kind for kind in kinds)
    assert torch.equal(torch.compile(Both(), backend='eager')(x), torch.cat([x * 2, x], 1))
