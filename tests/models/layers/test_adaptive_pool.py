import pytest
import torch
from torch.nn import functional as F

from mmcnn.models.layers import ExportableAdaptiveAvgPool2d


@pytest.mark.parametrize('seen', [(7, 7), (10, 9), (14, 14)], ids=str)
def test_exported_with_open_sizes_it_is_pytorchs_pool_at_all_of_them(seen):
    pool = ExportableAdaptiveAvgPool2d(7)
    sides = {2: torch.export.Dim('height', min=2), 3: torch.export.Dim('width', min=2)}
    exported = torch.export.export(pool, (torch.rand(2, 3, *seen),), dynamic_shapes=(sides,)).module()
    for size in ((7, 7), (5, 6), (10, 9), (14, 14), (21, 14), (8, 30)):
        x = torch.rand(2, 3, *size)
        torch.testing.assert_close(exported(x), F.adaptive_avg_pool2d(x, 7))


@pytest.mark.parametrize('side', [1, 7])
def test_eager_it_is_pytorchs_to_the_bit(side):
    x = torch.rand(2, 3, 10, 9)
    assert torch.equal(ExportableAdaptiveAvgPool2d(side)(x), F.adaptive_avg_pool2d(x, side))


@pytest.mark.parametrize('side', [1, 7])
def test_deterministic_it_calls_no_operator_without_such_a_gradient(side):
    """Values and gradients are still PyTorch's."""
    pool, x = ExportableAdaptiveAvgPool2d(side), torch.rand(2, 3, 10, 9, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, 3, side, side, dtype=torch.float64)
    (expected,) = torch.autograd.grad((F.adaptive_avg_pool2d(x, side) * weight).sum(), x)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with torch.profiler.profile() as profile:
            found = pool(x)
            (gradient,) = torch.autograd.grad((found * weight).sum(), x)
    finally:
        torch.use_deterministic_algorithms(before)
    assert not {event.key for event in profile.key_averages()} & {
        'aten::_adaptive_avg_pool2d', 'aten::_adaptive_avg_pool2d_backward'
    }  # fmt: skip
    torch.testing.assert_close(found, F.adaptive_avg_pool2d(x, side))
    torch.testing.assert_close(gradient, expected)
