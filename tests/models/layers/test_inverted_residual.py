import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmcnn.models.layers import InvertedResidual

CONV = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU6'))


def test_recipe_by_hand():
    block = InvertedResidual(8, 24, 8, 3, 1, **CONV).eval()
    with torch.no_grad():
        for key, value in block.state_dict().items():
            if 'running' in key:
                value.uniform_(0.5, 1.5)
    tensors = iter([v for k, v in block.state_dict().items() if not k.endswith('num_batches_tracked')])

    def conv(x, groups=1):
        weight, gamma, beta, mean, var = (next(tensors) for _ in range(5))
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
        return F.batch_norm(x, mean, var, gamma, beta)

    image = torch.randn(2, 8, 9, 7)
    expected = image + conv(F.relu6(conv(F.relu6(conv(image)), groups=24)))
    assert next(tensors, None) is None
    torch.testing.assert_close(block(image), expected)


@pytest.mark.parametrize('padding', [None, 'same'])
@pytest.mark.parametrize('kernel', [3, 5])
def test_strided_maps_round_up(kernel, padding):
    block = InvertedResidual(8, 0, 16, kernel, 2, padding=padding, **CONV)
    assert isinstance(block.expand, nn.Identity) and not block.residual
    for height, width in ((8, 9), (7, 10), (1, 2)):
        with torch.no_grad():
            assert block.eval()(torch.randn(1, 8, height, width)).shape[2:] == (-(-height // 2), -(-width // 2))


def test_input_is_added_only_to_its_own_shape():
    assert InvertedResidual(8, 16, 8, 3, 1, **CONV).residual
    assert not InvertedResidual(8, 16, 8, 3, 2, **CONV).residual
    assert not InvertedResidual(8, 16, 16, 3, 1, **CONV).residual


def test_drop_path_drops_whole_branches_of_single_images():
    block = InvertedResidual(8, 16, 8, 3, 1, drop_path=0.5, norm_cfg=None, act_cfg=dict(type='ReLU')).train()
    image = torch.randn(64, 8, 4, 4)
    with torch.no_grad():
        branch, out = block.eval()(image) - image, block.train()(image) - image
    kept = out.flatten(1).abs().amax(1) > 1e-6
    assert 16 < kept.sum() < 48
    torch.testing.assert_close(out[kept], 2 * branch[kept], rtol=1e-4, atol=1e-5)  # which keeps the expectation


def test_squeeze_excite_is_between_the_depthwise_and_the_last_convolution():
    excite = dict(squeezed=2, act_cfg=dict(type='ReLU'), gate_cfg=dict(type='mmcnn.Hardsigmoid'))
    block = InvertedResidual(8, 16, 8, 3, 1, excite=excite, **CONV).eval()
    assert block.excite.reduce.weight.shape == (2, 16, 1, 1)
    with torch.no_grad():
        block.excite.expand.weight.zero_()
        block.excite.expand.bias.fill_(-3)  # the h-sigmoid is exactly 0 and closes the branch
        image = torch.randn(1, 8, 5, 5)
        closed = block.project(torch.zeros(1, 16, 5, 5))
        torch.testing.assert_close(block(image), image + closed)
