import pytest
import torch

from mmcnn.models.layers import ConvNormAct


def test_keys_and_bias():
    plain = ConvNormAct(3, 8, 3, norm_cfg=None, act_cfg=None)
    assert set(plain.state_dict()) == {'conv.weight', 'conv.bias'}
    normed = ConvNormAct(3, 8, 3, norm_cfg=dict(type='BN'), act_cfg=dict(type='mmcnn.Mish'))
    assert 'conv.bias' not in normed.state_dict() and 'bn.running_var' in normed.state_dict()
    both = ConvNormAct(3, 8, 3, bias=True, norm_cfg=dict(type='BN'), act_cfg=None)
    assert {'conv.bias', 'bn.bias'} <= set(both.state_dict())


def test_mish_values():
    conv = ConvNormAct(1, 1, 1, norm_cfg=None, act_cfg=dict(type='mmcnn.Mish'))
    x = torch.tensor([-5.0, -1.0, 1.0, 5.0])
    expected = torch.tensor([-0.033576, -0.303401, 0.865098, 4.999552])
    torch.testing.assert_close(conv.act(x), expected, rtol=0, atol=1e-5)


def test_size_is_rounded_up():
    conv = ConvNormAct(1, 2, 3, stride=2, norm_cfg=None, act_cfg=None)
    assert conv(torch.randn(1, 1, 97, 130)).shape == (1, 2, 49, 65)


@pytest.mark.parametrize('kernel', [3, (1, 7), (3, 1)], ids=str)
@pytest.mark.parametrize('stride', [1, 2])
def test_paddings_give_their_sizes(kernel, stride):
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = torch.randn(1, 2, 9, 12)

    def size(padding):
        layer = ConvNormAct(2, 4, kernel, stride, padding=padding, norm_cfg=None, act_cfg=None)
        return tuple(layer(x).shape[-2:])

    assert size(None) == size('same') == (-(-9 // stride), -(-12 // stride))
    assert size('valid') == ((9 - height) // stride + 1, (12 - width) // stride + 1)


def test_same_and_symmetric_padding_share_weights_and_differ_at_even_sizes():
    same = ConvNormAct(2, 4, 3, 2, padding='same', norm_cfg=None, act_cfg=None)
    symmetric = ConvNormAct(2, 4, 3, 2, norm_cfg=None, act_cfg=None)
    symmetric.load_state_dict(same.state_dict())
    odd, even = torch.randn(1, 2, 9, 9), torch.randn(1, 2, 8, 8)
    assert torch.allclose(same(odd), symmetric(odd), atol=1e-6)
    assert not torch.allclose(same(even), symmetric(even), atol=1e-2)


def test_without_gamma_there_is_no_such_parameter():
    layer = ConvNormAct(3, 4, 1, norm_cfg=dict(type='BN', eps=1e-3, gamma=False), act_cfg=None)
    assert sorted(layer.state_dict()) == [
        'bn.bias', 'bn.num_batches_tracked', 'bn.running_mean', 'bn.running_var', 'conv.weight',
    ]  # fmt: skip
    x = torch.randn(8, 3, 5, 5)
    y = layer(x)  # in training mode it is normalised, and beta is 0
    assert y.mean((0, 2, 3)).abs().max() < 1e-5 and (y.var((0, 2, 3)) - 1).abs().max() < 0.05
    y.square().sum().backward()
    assert layer.bn.bias.grad is not None
    torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9).step()


@pytest.mark.parametrize('kind', ['SiLU', 'HSwish'])
def test_an_activation_that_autograd_would_copy_is_in_place_in_evaluation_only(kind):
    layer = ConvNormAct(2, 3, 1, norm_cfg=dict(type='BN'), act_cfg=dict(type=kind, inplace=True))
    assert not layer.act.inplace
    assert layer.eval().act.inplace and not layer.train().act.inplace
    with torch.no_grad():
        out = layer.bn(torch.randn(2, 3, 4, 4))
        before = out.clone()
        layer.act(out)
    assert torch.equal(out, before)
    asked = ConvNormAct(2, 3, 1, norm_cfg=None, act_cfg=dict(type=kind, inplace=False))
    assert not asked.eval().act.inplace
    relu = ConvNormAct(2, 3, 1, norm_cfg=None, act_cfg=dict(type='ReLU', inplace=True))
    assert relu.act.inplace and relu.eval().act.inplace  # its gradient needs only the output


def test_a_module_that_an_older_release_has_pickled_changes_its_mode():
    unit = ConvNormAct(3, 4, 3, norm_cfg=None, act_cfg=dict(type='SiLU', inplace=True))
    del vars(unit)['_in_place']
    assert unit.eval().act.inplace == unit.train().act.inplace
