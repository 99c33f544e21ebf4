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
