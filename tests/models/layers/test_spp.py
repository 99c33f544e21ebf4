import torch
from torch.nn import functional as F

from mmcnn.models.layers import SPP, PyramidPool


def test_chained_pools_equal_the_separate_ones_in_both_orders():
    x = torch.randn(2, 3, 17, 23)
    pools = [F.max_pool2d(x, k, stride=1, padding=k // 2) for k in (5, 9, 13)]
    assert torch.equal(PyramidPool()(x), torch.cat([x, *pools], 1))
    assert torch.equal(PyramidPool(largest_first=True)(x), torch.cat([*pools[::-1], x], 1))


def test_spp_halves_inside():
    spp = SPP(16, 24, norm_cfg=dict(type='BN'), act_cfg=None)
    assert spp(torch.randn(1, 16, 8, 8)).shape == (1, 24, 8, 8)
    assert spp.conv1.conv.out_channels == 8 and spp.conv2.conv.in_channels == 32
