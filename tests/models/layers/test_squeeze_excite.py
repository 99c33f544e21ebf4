import torch

from mmcnn.models.layers import SqueezeExcite


def test_each_channel_is_scaled_by_the_gate_of_the_means():
    layer = SqueezeExcite(6, 2, act_cfg=dict(type='ReLU'), gate_cfg=dict(type='Sigmoid')).double()
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    means = x.mean((2, 3))
    hidden = (means @ layer.reduce.weight[:, :, 0, 0].T + layer.reduce.bias).clamp(min=0)
    gate = 1 / (1 + (-(hidden @ layer.expand.weight[:, :, 0, 0].T + layer.expand.bias)).exp())
    assert torch.allclose(layer(x), x * gate[:, :, None, None])
    assert sum(p.numel() for p in layer.parameters()) == 6 * 2 + 2 + 2 * 6 + 6
