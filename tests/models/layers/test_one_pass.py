"""One-pass convolutions against a convolution followed by an activation."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from mmcnn.compat.onednn import ACTIVATIONS, HAS_ONE_PASS, has_one_pass
from mmcnn.models.layers import ConvNormAct, SameConv2d, one_pass
from mmcnn.models.layers.dense import DenseBlock, NormAct
from mmcnn.models.layers.one_pass import FEW_PIXELS, FEW_PRODUCTS, OnePassConv2d, fits, plus, plus_input

pytestmark = pytest.mark.skipif(not HAS_ONE_PASS, reason='of x86 only')
NEAR = dict(rtol=1e-5, atol=2e-6)


def made(conv, act=None):
    torch.manual_seed(0)
    return OnePassConv2d(copy.deepcopy(conv).eval().requires_grad_(False), act)


@pytest.fixture
def calls(monkeypatch):
    """Counts the calls of oneDNN's operator."""
    seen = []
    for name in ('convolution', 'convolution_plus', 'packed'):
        original = getattr(one_pass, name)
        monkeypatch.setattr(one_pass, name, lambda *a, name=name, original=original: seen.append(name) or original(*a))
    return seen


@pytest.mark.parametrize('act', [*ACTIVATIONS, nn.LeakyReLU, nn.Mish], ids=lambda act: act.__name__)
def test_each_activation(act, calls):
    conv, x = nn.Conv2d(8, 6, 3, padding=1), 5 * torch.randn(2, 8, 7, 9)
    act = act()
    torch.testing.assert_close(made(conv, act)(x), act(conv(x)).detach(), **NEAR)
    assert ('convolution' in calls) == (act.__class__ is not nn.Mish)


@pytest.mark.parametrize('act', [*ACTIVATIONS, nn.LeakyReLU, nn.Mish], ids=lambda act: act.__name__)
def test_each_activation_behind_a_product(act, calls):
    conv, x = nn.Conv2d(8, 6, 1), 5 * torch.randn(2, 8, 7, 9)
    kept, unit = x.clone(), made(conv, act())
    torch.testing.assert_close(unit(x), act()(conv(x)).detach(), **NEAR)
    assert torch.equal(x, kept)
    assert calls == []


@pytest.mark.parametrize(
    'conv',
    [
        nn.Conv2d(8, 6, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.Conv2d(8, 6, (1, 7), padding=(0, 3), groups=2),
        nn.Conv2d(8, 6, 1),
        nn.Conv2d(8, 6, 1, stride=2),
        nn.Conv2d(8, 6, 1, groups=2),
        nn.Conv2d(8, 6, 1, padding=1),
        SameConv2d(8, 6, 3, stride=2),
        SameConv2d(8, 6, 6, stride=2),
    ],
    ids=str,
)
@pytest.mark.parametrize('size', [(1, 8, 9, 12), (2, 8, 40, 40)], ids=str)
def test_each_kind_of_convolution_at_several_sizes_in_turn(conv, size):
    unit = made(conv, nn.ReLU())
    for x in (torch.randn(1, 8, 6, 6), torch.randn(size), torch.randn(size)[:, :, ::2, 1:]):
        torch.testing.assert_close(unit(x), conv(x).relu().detach(), **NEAR)
        torch.testing.assert_close(unit(x.to(memory_format=torch.channels_last)), conv(x).relu().detach(), **NEAR)


def test_both_sides_of_the_size_from_which_a_1x1_is_a_convolution(calls):
    conv = nn.Conv2d(4, 3, 1)
    unit = made(conv)
    for width, called in ((FEW_PIXELS, 0), (FEW_PIXELS + 1, 1)):
        x = torch.randn(1, 4, 1, width)
        torch.testing.assert_close(unit(x), conv(x).detach(), **NEAR)
        assert calls.count('convolution') == called


@pytest.mark.parametrize(('vendor', 'called'), [('GenuineIntel', 0), ('AuthenticAMD', 1), ('', 1)])
def test_large_products_are_convolutions_where_the_library_for_them_is_slower(calls, monkeypatch, vendor, called):
    monkeypatch.setattr(one_pass, 'cpu_vendor', lambda: vendor)
    pixels = FEW_PRODUCTS // (256 * 128)
    assert pixels < FEW_PIXELS
    conv = nn.Conv2d(256, 128, 1)
    unit = made(conv)
    for width, expected in ((pixels, 0), (pixels + 1, called)):
        x = torch.randn(1, 256, 1, width)
        torch.testing.assert_close(unit(x), conv(x).detach(), rtol=1e-5, atol=1e-5)
        assert calls.count('convolution') == expected


@pytest.mark.parametrize('name', ['weight', 'bias'])
def test_a_parameter_that_is_parametrized_later_is_used(calls, name):
    unit, x = made(nn.Conv2d(8, 6, 3), nn.ReLU()), torch.randn(1, 8, 9, 9)
    expected = F.conv2d(x, **{**dict(weight=unit.weight, bias=unit.bias), name: -getattr(unit, name)}).relu()

    class Negative(nn.Module):
        def forward(self, weight):
            return -weight

    parametrize.register_parametrization(unit, name, Negative())
    torch.testing.assert_close(unit(x), expected, **NEAR)
    assert calls == []


def test_a_unit_that_an_older_release_has_pickled():
    unit, x = made(nn.Conv2d(8, 6, 1), nn.ReLU()), torch.randn(1, 8, 9, 9)
    expected = unit(x)
    for name in ('_least', '_most_pixels', '_act'):
        del unit.__dict__[name]
    assert torch.equal(pickle.loads(pickle.dumps(unit))(x), expected)


def test_a_changed_weight_is_seen(calls):
    unit, x = made(nn.Conv2d(8, 6, 3)), torch.randn(1, 8, 9, 9)
    first = unit(x)
    unit(x)
    assert calls.count('packed') == 1
    with torch.no_grad():
        unit.weight.mul_(2)
        unit.bias.mul_(2)
    torch.testing.assert_close(unit(x), 2 * first, **NEAR)
    unit.load_state_dict({key: value / 4 for key, value in unit.state_dict().items()})
    torch.testing.assert_close(unit(x), first / 2, **NEAR)
    unit.weight.data = unit.weight.data * 2
    unit.bias.data = unit.bias.data * 2
    torch.testing.assert_close(unit(x), first, **NEAR)
    assert calls.count('packed') == 4


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda unit: pickle.loads(pickle.dumps(unit))])
def test_a_copy_has_weights_of_its_own(copied):
    unit, x = made(nn.Conv2d(8, 6, 3)), torch.randn(1, 8, 9, 9)
    before = unit(x)
    other = copied(unit)
    with torch.no_grad():
        other.weight.zero_()
        other.bias.zero_()
    assert not other(x).any()
    assert torch.equal(unit(x), before)


def test_gradients_of_the_input_are_there():
    conv, x = nn.Conv2d(8, 6, 3), torch.randn(1, 8, 9, 9)
    found, expected = (x.clone().requires_grad_() for _ in range(2))
    made(conv, nn.ReLU())(found).sum().backward()
    conv(expected).relu().sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, **NEAR)


def test_another_weight_at_the_same_address_is_seen():
    conv, x = nn.Conv2d(8, 6, 3).requires_grad_(False), torch.randn(1, 8, 9, 9)
    unit = made(conv)
    for factor in (1.0, 2.0, 3.0, 4.0):  # the next weight reuses the freed memory
        found = torch.func.functional_call(unit, dict(weight=conv.weight * factor), (x,))
        torch.testing.assert_close(found, F.conv2d(x, conv.weight * factor, conv.bias), **NEAR)


def test_gradients_of_the_bias_alone_are_there():
    unit = made(nn.Conv2d(8, 6, 3))
    unit.bias.requires_grad_()
    unit(torch.randn(1, 8, 9, 9)).sum().backward()
    assert (unit.bias.grad == 49).all()


def test_transforms_see_pytorchs_operators():
    conv = nn.Conv2d(8, 6, 3).requires_grad_(False)
    unit, x = made(conv, nn.ReLU()), torch.randn(3, 2, 8, 9, 9)
    reference = lambda x: conv(x).relu()  # noqa: E731
    torch.testing.assert_close(torch.vmap(unit)(x), torch.vmap(reference)(x), **NEAR)
    found, expected = (torch.func.jvp(each, (x[0],), (x[1],))[1] for each in (unit, reference))
    torch.testing.assert_close(found, expected, **NEAR)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(unit(forward_ad.make_dual(x[0], x[1]))).tangent
    torch.testing.assert_close(found, expected, **NEAR)


@pytest.mark.filterwarnings('error::torch.jit.TracerWarning')
def test_operators_are_pytorchs_where_somebody_looks_on(calls):
    conv, x = nn.Conv2d(8, 6, 3), torch.randn(1, 8, 9, 9)
    unit = made(conv, nn.ReLU())
    with FlopCounterMode(display=False) as counter:
        unit(x)
    assert counter.get_total_flops() == 2 * 6 * 8 * 9 * 7 * 7
    graph = torch.export.export(unit, (x,)).graph
    assert {str(node.target) for node in graph.nodes if node.op == 'call_function'} == {
        'aten.conv2d.default',
        'aten.relu.default',
    }
    assert 'mkldnn' not in str(torch.jit.trace(unit, x, check_trace=False).inlined_graph)
    with torch.autocast('cpu', torch.bfloat16):
        assert unit(x).dtype is torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False):
        unit(x)
    assert calls == []


def test_autocast_to_the_type_of_the_weight(calls):
    """A network whose weights are stored in bfloat16 takes images in float32 under autocast."""
    if not has_one_pass(torch.bfloat16):
        pytest.skip('this processor has no AVX512')
    unit, x = made(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU()).to(torch.bfloat16), torch.rand(1, 3, 16, 16)
    expected = unit(x.bfloat16())
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(unit(x), expected) and torch.equal(unit(x.bfloat16()), expected)
    assert calls.count('convolution') == 3
    with pytest.raises(RuntimeError, match='should be the same'):
        unit(x)


def test_other_types_and_shapes(calls):
    conv = nn.Conv2d(8, 6, 3)
    unit = made(conv)
    assert unit(torch.randn(8, 9, 9)).shape == (6, 7, 7)
    assert copy.deepcopy(unit).double()(torch.randn(1, 8, 9, 9).double()).dtype is torch.float64
    assert unit(torch.randn(0, 8, 9, 9)).shape == (0, 6, 7, 7)
    assert calls == []
    half, x = copy.deepcopy(unit).bfloat16(), torch.randn(1, 8, 9, 9)
    torch.testing.assert_close(half(x.bfloat16()).float(), conv(x).detach(), rtol=0.05, atol=0.05)
    assert calls == ['packed', 'convolution']
    with pytest.raises(RuntimeError, match=r'expected input.* to have 8 channels'):
        unit(torch.randn(1, 7, 9, 9))
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        unit(torch.randn(1, 8, 2, 2))


def test_what_does_not_fit():
    hooked = nn.Conv2d(3, 3, 3)
    hooked.register_forward_hook(lambda *args: None)

    class Other(nn.Conv2d):
        pass

    assert fits(nn.Conv2d(3, 3, 3)) and fits(SameConv2d(3, 3, 3))
    others = (hooked, Other(3, 3, 3), nn.Conv2d(3, 3, 3, padding_mode='reflect'), nn.Conv2d(3, 3, 3, padding='same'))
    assert not any(map(fits, (*others, nn.Conv2d(3, 3, 3, device='meta'), nn.Linear(3, 3))))


@pytest.mark.parametrize('behind', [None, nn.ReLU(inplace=True), nn.Mish()], ids=str)
@pytest.mark.parametrize('side', [8, 40])
def test_plus(behind, side):
    unit = ConvNormAct(4, 4, 1, norm_cfg=None, act_cfg=None).eval().requires_grad_(False)
    x, shortcut = torch.randn(1, 4, side, side), torch.randn(1, 4, side, side)
    expected, kept = unit(x) + shortcut, shortcut.clone()
    expected = expected if behind is None else behind(expected)
    assert torch.equal(plus(unit, x, shortcut, behind), expected)
    unit.conv = OnePassConv2d(unit.conv)
    torch.testing.assert_close(plus(unit, x, shortcut, behind), expected, **NEAR)
    assert torch.equal(shortcut, kept)  # others may need it
    seen = []
    unit.register_forward_hook(lambda module, args, output: seen.append(output))
    torch.testing.assert_close(plus(unit, x, shortcut, behind), expected, **NEAR)
    torch.testing.assert_close(seen[0], unit(x), **NEAR)


def test_plus_input():
    unit = ConvNormAct(4, 4, 3, norm_cfg=None, act_cfg=dict(type='ReLU')).eval().requires_grad_(False)
    x = torch.randn(1, 4, 9, 9)
    expected, kept = x + unit(x), x.clone()
    out = unit(x)
    assert torch.equal(plus_input(out, x, unit), expected) and torch.equal(out, unit(x))
    unit.conv, unit.act = OnePassConv2d(unit.conv, unit.act), nn.Identity()
    out = unit(x)
    assert plus_input(out, x, unit) is out
    torch.testing.assert_close(out, expected, **NEAR)
    assert torch.equal(x, kept)
    seen = []
    unit.conv.register_forward_hook(lambda module, args, output: seen.append(output))
    torch.testing.assert_close(plus_input(unit(x), x, unit), expected, **NEAR)
    torch.testing.assert_close(seen[0], expected - x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('last', [False, True])
@torch.no_grad()
def test_a_dense_block_in_one_map(last):
    torch.manual_seed(0)
    block = DenseBlock(8, 3, 16, 4, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU', inplace=True)).eval()
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 1.5), norm.bias.normal_()
    x = torch.randn(2, 8, 9, 7)
    x = x.to(memory_format=torch.channels_last) if last else x
    with torch.enable_grad():
        expected = block(x).detach()  # parameters require gradients, so maps are concatenated
    found = block(x)
    torch.testing.assert_close(found, expected, **NEAR)
    assert found.is_contiguous(memory_format=torch.channels_last) == last


@torch.no_grad()
def test_a_kept_scale_follows_its_sources():
    torch.manual_seed(0)
    norm_act, other = (NormAct(8, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')).eval() for _ in range(2))
    norm_act.keeps_scale = True
    x = torch.randn(2, 8, 9, 7)

    def same(unit=norm_act):
        expected = F.batch_norm(x, *(unit.bn.get_buffer(f'running_{name}') for name in ('mean', 'var')),
                                unit.bn.weight, unit.bn.bias, eps=unit.bn.eps).relu()  # fmt: skip
        torch.testing.assert_close(unit(x), expected, **NEAR)

    same()
    kept = norm_act._kept
    same()
    assert norm_act._kept is kept
    for buffer in norm_act.state_dict().values():
        if buffer.is_floating_point():
            buffer.add_(0.5)
            same()
    norm_act.bn.eps = 0.3
    same()
    norm_act.load_state_dict(other.state_dict())
    same()
    for copied in (copy.deepcopy(norm_act), pickle.loads(pickle.dumps(norm_act))):
        copied.bn.weight.zero_()
        same(copied)
        same()
    norm_act.bn.bias = nn.Parameter(torch.ones(8))
    same()


@torch.no_grad()
def test_dense_layers_under_vmap_and_without_running_statistics():
    torch.manual_seed(0)
    act = dict(type='ReLU')
    block = DenseBlock(8, 3, 16, 4, norm_cfg=dict(type='BN'), act_cfg=act).eval()
    x = torch.randn(2, 3, 8, 9, 7)
    torch.testing.assert_close(torch.vmap(block)(x), block(x.flatten(0, 1)).unflatten(0, (2, 3)), **NEAR)
    norm_act = NormAct(8, norm_cfg=dict(type='BN', track_running_stats=False), act_cfg=act).eval()
    torch.testing.assert_close(norm_act(x[0]), F.batch_norm(x[0], None, None, training=True).relu(), **NEAR)
