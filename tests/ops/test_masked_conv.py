import torch
from torch.nn import functional as F

from mmcnn.ops import masked_col2im, masked_im2col


def test_is_a_convolution_at_some_places():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 3, 6, 5, generator=generator)
    weight = torch.randn(4, 3, 3, 2, generator=generator)
    full = F.conv2d(features, weight, padding=(2, 1))
    mask = torch.rand(full.shape[2:], generator=generator) > 0.6
    y, x = mask.nonzero().unbind(1)
    columns = masked_im2col(features, y, x, (3, 2), (2, 1))
    assert columns.shape == (18, len(y))
    got = masked_col2im(weight.flatten(1) @ columns, y, x, tuple(mask.shape))
    torch.testing.assert_close(got, full * mask)


def test_nowhere():
    none = torch.zeros(0, dtype=torch.long)
    columns = masked_im2col(torch.ones(1, 3, 6, 5), none, none, (3, 3), (1, 1))
    assert columns.shape == (27, 0)
    assert not masked_col2im(torch.zeros(4, 0), none, none, (6, 5)).any()
