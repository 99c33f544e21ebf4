import math

import pytest
import torch

from mmcnn.ops import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward

CLASSES = 5


def sample(n=40, spread=4.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, CLASSES, generator=generator, dtype=torch.float64) * spread
    return logits.to(dtype), torch.arange(n) % (CLASSES + 1)  # every class, and background


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5)])
def test_equals_autograd_of_mmdet(gamma, alpha):
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss  # imports only after mmcnn

    logits, target = sample()
    logits.requires_grad_()
    one_hot = torch.nn.functional.one_hot(target, CLASSES + 1)[:, :CLASSES]
    expected = py_sigmoid_focal_loss(logits, one_hot, gamma=gamma, alpha=alpha, reduction='none')
    loss = sigmoid_focal_loss_forward(logits.detach(), target, None, gamma, alpha)
    torch.testing.assert_close(loss, expected.detach())
    expected.sum().backward()
    torch.testing.assert_close(sigmoid_focal_loss_backward(logits.detach(), target, None, gamma, alpha), logits.grad)


def test_hand_worked():
    # p = 1/2: -alpha (1 - p)^2 log p for the positive, -(1 - alpha) p^2 log(1 - p) for the negative.
    loss = sigmoid_focal_loss_forward(torch.zeros(1, 2), torch.tensor([1]))
    expected = torch.tensor([[0.75 * 0.25 * math.log(2), 0.25 * 0.25 * math.log(2)]])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize('function', [sigmoid_focal_loss_forward, sigmoid_focal_loss_backward])
def test_class_weight_scales_the_samples_of_a_class(function):
    logits, target = sample()
    weight = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    ratio = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0, 1.0], dtype=torch.float64)[target]  # background: 1
    torch.testing.assert_close(function(logits, target, weight), function(logits, target) * ratio[:, None])
    torch.testing.assert_close(function(logits, target, torch.empty(0)), function(logits, target))


@pytest.mark.parametrize('function', [sigmoid_focal_loss_forward, sigmoid_focal_loss_backward])
def test_types_and_extremes(function):
    logits, target = sample(spread=60.0, dtype=torch.float32)
    exact = function(logits.double(), target)
    assert exact.isfinite().all()
    torch.testing.assert_close(function(logits, target).double(), exact, rtol=1e-5, atol=1e-6)
    half = function(logits.half(), target)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.double(), function(logits.half().double(), target), rtol=2e-3, atol=1e-3)
    assert function(torch.zeros(0, CLASSES), torch.zeros(0, dtype=torch.long)).shape == (0, CLASSES)


def test_errors():
    with pytest.raises(ValueError, match=r'shapes \(N, C\) and \(N,\), not \(3, 5\) and \(2,\)'):
        sigmoid_focal_loss_forward(torch.zeros(3, 5), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match=r'one entry per class, \(5,\), not \(4,\)'):
        sigmoid_focal_loss_backward(torch.zeros(3, 5), torch.zeros(3, dtype=torch.long), torch.ones(4))
