"""The fused step equals PyTorch's plain one up to rounding in every memory format."""

import copy

import pytest
import torch
from torch import nn

from mmcnn.recipes.fused_optimizer import fused_on_cpu, ready_for_fused

SGD = dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
PLAIN, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


def parameters_of(dtype=torch.float64):
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((8, 6, 3, 3), (7,), (5, 4), ())]


def steps(optimizer, parameters, count=9):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for each in parameters:
            each.grad = torch.randn(each.shape, generator=generator, dtype=each.dtype)
        optimizer.step()
    return [each.detach().clone() for each in parameters]


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        (torch.optim.SGD, SGD),
        (torch.optim.SGD, dict(lr=0.1)),
        (torch.optim.Adam, dict(lr=0.01)),
        (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.05)),
    ],
)
def test_steps_are_the_plain_ones_to_float64(kind, settings):
    cfg = fused_on_cpu(dict(type=kind.__name__, **settings), parameters_of())
    assert cfg.pop('type') == kind.__name__ and cfg['fused']
    plain, fused = parameters_of(), parameters_of()
    expected = steps(kind(plain, **settings), plain)
    for found, each in zip(steps(ready_for_fused(kind(fused, **cfg)), fused), expected, strict=True):
        torch.testing.assert_close(found, each, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('of_parameter', [PLAIN, CHANNELS_LAST])
@pytest.mark.parametrize('of_gradient', [PLAIN, CHANNELS_LAST])
@pytest.mark.parametrize('of_momentum', [PLAIN, CHANNELS_LAST])
def test_no_entry_is_mixed_up_in_any_memory_format(of_parameter, of_gradient, of_momentum):
    """A run may be resumed in another memory format than it was started in."""
    torch.manual_seed(0)
    value, gradient, momentum = (torch.randn(4, 6, 3, 3, dtype=torch.float64) for _ in range(3))
    found = []
    for fused in (False, True):
        parameter = nn.Parameter(value.clone(memory_format=of_parameter))
        optimizer = ready_for_fused(torch.optim.SGD([parameter], fused=fused, **SGD))
        optimizer.state[parameter]['momentum_buffer'] = momentum.clone(memory_format=of_momentum)
        parameter.grad = gradient.clone(memory_format=of_gradient)
        optimizer.step()
        found += [parameter.detach(), optimizer.state[parameter]['momentum_buffer']]
    torch.testing.assert_close(found[2:], found[:2], rtol=1e-12, atol=1e-12)


def test_a_parameter_may_get_its_first_gradient_late():
    found = []
    for fused in (False, True):
        parameters = parameters_of()[:2]
        optimizer = ready_for_fused(torch.optim.SGD(parameters, fused=fused, **SGD))
        steps(optimizer, parameters[:1], 2)
        found.append(steps(optimizer, parameters, 2))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_a_run_that_was_begun_plainly_goes_on_plainly():
    """A checkpoint of release 0.1.0 continues bit for bit, including its momentum."""
    first = parameters_of(torch.float32)
    begun = torch.optim.SGD(first, **SGD)
    steps(begun, first, 3)
    resumed = [nn.Parameter(each.detach().clone()) for each in first]
    optimizer = ready_for_fused(torch.optim.SGD(resumed, fused=True, **SGD))
    optimizer.load_state_dict(copy.deepcopy(begun.state_dict()))
    assert all(map(torch.equal, steps(optimizer, resumed, 3), steps(begun, first, 3)))


@pytest.mark.parametrize(
    'settings',
    [
        dict(type='SGD', lr=0.1, fused=False),
        dict(type='SGD', lr=0.1, foreach=True),
        dict(type='SGD', lr=0.1, foreach=False),
        dict(type='SGD', lr=0.1, differentiable=True),
        dict(type='SGD', lr=0.1, momentum=0.9, dampening=0.1),
        dict(type='RMSprop', lr=0.1),
        dict(type=torch.optim.SGD, lr=0.1),
    ],
)
def test_whatever_is_chosen_or_cannot_be_fused_is_left_alone(settings):
    assert fused_on_cpu(settings, parameters_of()) == settings


def test_other_devices_and_complex_numbers_keep_the_default():
    settings = dict(type='SGD', lr=0.1)
    assert fused_on_cpu(settings, [torch.zeros(2, device='meta')]) == settings
    assert fused_on_cpu(settings, [torch.zeros(2, dtype=torch.complex64)]) == settings
