import torch

from mmcnn.models.layers import SqueezeExcite, channel_means


def test_each_channel_is_scaled_by_the_gate_of_the_means():
    layer = SqueezeExcite(6, 2, act_cfg=dict(type='ReLU'), gate_cfg=dict(type='Sigmoid')).double()
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    means = x.mean((2, 3))
    hidden = (means @ layer.reduce.weight[:, :, 0, 0].T + layer.reduce.bias).clamp(min=0)
    gate = 1 / (1 + (-(hidden @ layer.expand.weight[:, :, 0, 0].T + layer.expand.bias)).exp())
    assert torch.allclose(layer(x), x * gate[:, :, None, None])
    assert sum(p.numel() for p in layer.parameters()) == 6 * 2 + 2 + 2 * 6 + 6


def test_means_and_their_gradients_are_pytorchs():
    x = torch.randn(3, 4, 5, 6, requires_grad=True)
    weight = torch.randn(3, 4, 1, 1)
    expected = x.mean((2, 3), keepdim=True)
    assert torch.equal(channel_means(x), expected)
    gradients = [torch.autograd.grad((each * weight).sum(), x)[0] for each in (channel_means(x), expected)]
    assert torch.equal(*gradients)
    assert torch.autograd.gradgradcheck(lambda x: channel_means(x) ** 2, (x.detach().double().requires_grad_(),))


def test_gradient_of_the_means_is_no_map_of_its_own():
    x = torch.randn(3, 4, 5, 6, requires_grad=True)
    gradient = torch.autograd.grad(channel_means(x).sum(), x)[0]
    assert gradient.untyped_storage().nbytes() == 3 * 4 * 4  # one float32 per channel and image


def test_transforms_of_the_means():
    x, tangent = torch.randn(2, 3, 4, 5, 6).double()
    plain = lambda x: x.mean((-2, -1), keepdim=True)  # noqa: E731
    for found, expected in zip(*(transformed(each, x, tangent) for each in (channel_means, plain)), strict=True):
        torch.testing.assert_close(found, expected)


def transformed(means, x, tangent):
    gradient = torch.func.grad(lambda x: means(x).pow(3).sum())
    yield torch.vmap(gradient)(x[:, None])
    yield torch.func.jvp(gradient, (x,), (tangent,))[1]
