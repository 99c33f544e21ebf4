import torch
from torch import nn
from torch.nn import functional as F

from mmcnn.models.layers import PlainStage


def test_pool_then_convolutions():
    stage = PlainStage(3, 5, 2, pool=True, norm_cfg=None, act_cfg=dict(type='ReLU'))
    assert [name for name, _ in stage.named_children()] == ['pool', 'conv1', 'conv2']
    x = torch.randn(1, 3, 5, 6)
    expected = F.max_pool2d(F.pad(x, (0, 0, 0, 1), value=-100), 2)
    for conv in (stage.conv1.conv, stage.conv2.conv):
        expected = F.relu(F.conv2d(expected, conv.weight, conv.bias, padding=1))
    assert expected.shape == (1, 5, 3, 3)
    torch.testing.assert_close(stage(x), expected)


def test_bias_stays_beside_a_norm():
    stage = PlainStage(3, 4, 1, pool=False, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    assert stage.conv1.conv.bias is not None and isinstance(stage.conv1.bn, nn.BatchNorm2d)
    assert stage(torch.randn(2, 3, 5, 6)).shape == (2, 4, 5, 6)
