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
