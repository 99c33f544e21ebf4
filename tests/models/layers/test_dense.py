import torch
from torch.nn import functional as F

from mmcnn.models.layers import DenseBlock, Transition

RELU = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU', inplace=True))


def test_every_layer_sees_all_maps_before_it():
    block = DenseBlock(5, 3, 7, 2, **RELU).eval()
    assert [layer.pre.bn.num_features for layer in block.values()] == [5, 7, 9]
    image = torch.randn(2, 5, 6, 9)
    kept = image.clone()
    out = block(image)
    assert out.shape == (2, 5 + 3 * 2, 6, 9)
    assert torch.equal(image, kept) and torch.equal(out[:, :5], image)  # maps that are kept are not changed in place
    for i, layer in enumerate(block.values()):
        assert torch.equal(out[:, 5 + 2 * i : 7 + 2 * i], layer(out[:, : 5 + 2 * i]))


def test_transition_activates_before_it_convolves():
    transition = Transition(4, 2, pool=True, **RELU).eval()
    x = torch.randn(1, 4, 5, 7)
    expected = F.conv2d(F.relu(x / (1 + 1e-5) ** 0.5), transition.conv.weight)
    out = transition(x)
    assert out.shape == (1, 2, 3, 4)
    torch.testing.assert_close(out[:, :, 0, 0], expected[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(out[:, :, 2, 3], expected[:, :, 4, 6])  # the mean at the corner is over one pixel
    assert Transition(4, 2, pool=False, **RELU)(x).shape == (1, 2, 5, 7)
