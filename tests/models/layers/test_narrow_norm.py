"""BatchNorm of few channels on the CPU, against float64."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmcnn.models.layers import ConvNormAct, narrow_norm
from mmcnn.models.layers.narrow_norm import _groups, normalise

TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def calls(monkeypatch):
    """The number of norms that were not computed by PyTorch's module."""
    found, apply = [], narrow_norm._NarrowBatchNorm.apply
    monkeypatch.setattr(narrow_norm._NarrowBatchNorm, 'apply', lambda *args: found.append(1) or apply(*args))
    return found


def make(channels=8, **settings):
    norm = nn.BatchNorm2d(channels, eps=1e-3, **settings)
    generator = torch.Generator().manual_seed(1)
    for each in norm.parameters():
        nn.init.uniform_(each, 0.5, 2, generator=generator)
    return norm


def maps(channels=8, dtype=torch.float32, height=160, width=160):
    x = torch.randn(4, channels, height, width, generator=torch.Generator().manual_seed(0))
    # Means and deviations that differ between channels and from pixel to pixel.
    x = x * torch.linspace(0.1, 3, channels)[:, None, None] + torch.linspace(-5, 5, channels)[:, None, None]
    x = x + torch.linspace(0, 1, width)
    return x.contiguous(memory_format=torch.channels_last).to(dtype).requires_grad_()


def passes(call, norm, x, grad):
    """Return the output, all gradients and the running statistics."""
    y = call(norm, x)
    found = torch.autograd.grad(y, (x, norm.weight, norm.bias), grad.to(y.dtype))
    return [y.detach(), *found, norm.running_mean, norm.running_var]


@pytest.mark.parametrize('channels', [2, 4, 8, 12, 15])
@pytest.mark.parametrize('dtype', TYPES)
def test_outputs_gradients_and_statistics_are_those_of_float64(dtype, channels, calls):
    x, grad = maps(channels, dtype), torch.randn(4, channels, 160, 160, generator=torch.Generator().manual_seed(2))
    grad = grad.to(dtype).contiguous(memory_format=torch.channels_last)
    ours = passes(normalise, make(channels), x, grad)
    theirs = passes(lambda norm, x: norm(x), make(channels), x, grad)
    exact = passes(lambda norm, x: norm(x), make(channels).double(), x.detach().double().requires_grad_(), grad)
    assert len(calls) == 1
    # The gradient of the map is computed in two passes; errors of long sums are random.
    for i, (a, b, c) in enumerate(zip(ours, theirs, exact, strict=True)):
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
        error, of_pytorch = ((each - c).abs().max() for each in (a, b))
        assert error <= (2.1 if i == 1 else 1.5) * of_pytorch + 2e-7 * c.abs().max(), i
        assert error <= (0.02 if dtype is torch.bfloat16 else 1e-5) * c.abs().max(), i


@pytest.mark.parametrize('settings', [dict(momentum=None), dict(momentum=0.3), dict(track_running_stats=False)])
def test_statistics_are_averaged_as_the_module_does(settings, calls):
    ours, exact = make(**settings), make(**settings).double()
    for scale in (1.0, 2.0, 3.0):
        x = maps().detach() * scale
        torch.testing.assert_close(normalise(ours, x).double(), exact(x.double()), rtol=1e-5, atol=1e-5)
    assert len(calls) == 3
    assert ours.state_dict().keys() == exact.state_dict().keys()
    for name, value in exact.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name].to(value), value, rtol=1e-6, atol=1e-6)
    if ours.track_running_stats:
        assert ours.num_batches_tracked.tolist() == 3


def test_pixels_that_cannot_be_put_side_by_side_are_left_to_pytorch():
    norm = make()
    assert _groups(norm, maps(height=160, width=160)) == 8
    assert _groups(norm, maps(height=73, width=73)) == 4
    assert _groups(make(15), maps(15, height=73, width=71)) == 4
    odd = torch.randn(3, 8, 73, 79).contiguous(memory_format=torch.channels_last)
    assert _groups(norm, odd) == 3
    assert _groups(norm, torch.randn(1, 8, 131, 137).contiguous(memory_format=torch.channels_last)) == 1


@pytest.mark.parametrize(
    'case',
    [
        'evaluation',
        'usual layout',
        'small',
        'wide',
        'float64',
        'no scale',
        'hook',
        'class',
        'parameters',
        'one thread',
    ],
)
def test_in_any_other_circumstance_it_is_pytorchs(case, calls):
    norm, x = make(), maps().detach()
    if case == 'evaluation':
        norm.eval()
    elif case == 'usual layout':
        x = x.contiguous()
    elif case == 'small':
        x = x[:, :, :16, :16].contiguous(memory_format=torch.channels_last)
    elif case == 'wide':
        norm, x = make(16), maps(16).detach()
    elif case == 'float64':
        norm, x = norm.double(), x.double()
    elif case == 'no scale':
        norm.register_parameter('weight', None)
    elif case == 'hook':
        norm.register_forward_hook(lambda *args: None)
    elif case == 'class':
        norm = type('Other', (nn.BatchNorm2d,), {})(8)
    elif case == 'one thread':
        torch.set_num_threads(1)
    elif case == 'parameters':
        norm, x = norm.bfloat16(), x.bfloat16()
    twin = copy.deepcopy(norm)
    assert torch.equal(normalise(norm, x), twin(x)) and not calls
    assert norm.state_dict().keys() == twin.state_dict().keys()


def test_whoever_watches_operators_sees_pytorchs(calls):
    norm, x = make().requires_grad_(False), maps().detach()
    with FlopCounterMode(display=False):
        normalise(norm, x)
    assert 'batch_norm' in str(torch.jit.trace(lambda x: normalise(norm, x), x, check_trace=False).graph)
    torch.compile(lambda x: normalise(norm, x), backend='eager', fullgraph=True)(x)
    constant = make(track_running_stats=False)  # transforms cannot change buffers
    torch.func.grad(lambda x: normalise(constant, x).square().mean())(x)
    assert not calls


def test_second_derivatives(calls):
    norm, x = make(4), maps(4, height=130, width=130)
    found = []
    for call, own, given in (
        (normalise, norm, x),
        (lambda norm, x: norm(x), copy.deepcopy(norm).double(), x.detach().double().requires_grad_()),
    ):
        y = call(own, given)
        slopes = torch.autograd.grad(y.square().mean() + y.sin().mean(), (given, own.weight), create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in slopes), own.weight)[0])
    assert len(calls) == 1
    torch.testing.assert_close(found[0].double(), found[1], rtol=1e-4, atol=1e-7)


def test_gradients_of_several_losses_at_once(calls):
    norm, x = make(4), maps(4)
    y = normalise(norm, x)
    grads = torch.randn(2, *y.shape)
    inputs = (x, norm.weight)
    together = torch.autograd.grad(y, inputs, grads, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(y, inputs, grad, retain_graph=True) for grad in grads]
    assert len(calls) == 1
    for found, single in zip(together, zip(*each, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(single), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('frozen', ['input', 'scale'])
def test_only_what_is_trained_has_a_gradient(frozen, calls):
    norm, x = make(), maps()
    (x if frozen == 'input' else norm.weight).requires_grad_(False)
    normalise(norm, x).sum().backward()
    assert len(calls) == 1 and norm.bias.grad is not None
    assert (x.grad is None) == (frozen == 'input') and (norm.weight.grad is None) == (frozen == 'scale')


def test_layers_of_networks_use_it(calls):
    layer = ConvNormAct(3, 8, 3, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU', inplace=True))
    layer = layer.to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 80, 80).contiguous(memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16):
        y = layer(x)
    y.float().mean().backward()
    assert y.dtype is torch.bfloat16 and len(calls) == 1
    assert all(each.grad is not None for each in layer.parameters())
