import pytest
import torch

from mmcnn.models.task_modules import YOLOGridCoder

# t = (0.3, -0.7, 0.5, -0.2), cell (10, 7), stride 16, anchor (62, 45); expected centre and size in pixels.
VECTORS = [
    (dict(scale_xy=1, size='exp'), (169.191080, 117.308996, 102.220719, 36.842884)),
    (dict(scale_xy=1.05, size='exp'), (169.250634, 117.174446, 102.220719, 36.842884)),
    (dict(scale_xy=1.1, size='exp'), (169.310188, 117.039895, 102.220719, 36.842884)),
    (dict(scale_xy=(1.0, 1.2), size='exp'), (169.429296, 116.770795, 102.220719, 36.842884)),
    (dict(scale_xy=2, size='sigmoid'), (170.382161, 114.617991, 96.088994, 36.476897)),
]


@pytest.mark.parametrize(('settings', 'expected'), VECTORS, ids=lambda v: str(v))
def test_vectors(settings, expected):
    t = torch.tensor([0.3, -0.7, 0.5, -0.2], dtype=torch.float64)
    cell, anchor = torch.tensor([10, 7]), torch.tensor([62.0, 45.0])
    box = YOLOGridCoder(**settings).decode(t, cell, anchor, stride=16, level=1)
    torch.testing.assert_close(box, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-5)


def test_exponential_is_bounded():
    box = YOLOGridCoder(1.0, 'exp').decode(torch.full((4,), 1e4), torch.zeros(2), torch.ones(2) * 16, 8, 0)
    torch.testing.assert_close(box[2:], torch.full((2,), 1000.0))


def test_unknown_size():
    with pytest.raises(ValueError, match="size='tanh' is neither"):
        YOLOGridCoder(size='tanh')
