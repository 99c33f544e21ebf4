import pytest
import torch
from mmdet.models.task_modules.coders import YOLOBBoxCoder

from mmcnn.models.task_modules import DarknetBBoxCoder, LevelOutput, LevelTargets, YOLOGridCoder

# Expected centre and size in pixels for t = (0.3, -0.7, 0.5, -0.2), cell (10, 7), stride 16, anchor (62, 45).
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


def test_without_a_bound_sizes_are_darknet_s_as_long_as_they_are_finite():
    coder = YOLOGridCoder(1.0, 'exp', max_exp=None)
    t = torch.tensor([[0.0, 0.0, 6.0, 20.0], [0.0, 0.0, 1e4, torch.inf]])
    boxes = coder.decode(t, torch.zeros(2), torch.tensor([16.0, 400.0]), 8, 0)
    torch.testing.assert_close(boxes[0, 2:], torch.tensor([16.0, 400.0]) * t[0, 2:].exp())
    assert boxes.isfinite().all() and boxes[1, 2:].min() > 1e15
    assert boxes[1, 2:].prod().isfinite()  # the area is finite in float32


def test_the_coder_of_yolov3_is_mmdetection_s_but_finite():
    anchors = torch.tensor([[0.0, 0.0, 16.0, 30.0]]).repeat(3, 1)
    t = torch.tensor([[0.3, 0.7, 0.5, -0.2], [0.5, 0.5, 6.0, 20.0], [0.5, 0.5, 200.0, torch.inf]])
    found, expected = DarknetBBoxCoder().decode(anchors, t, 8), YOLOBBoxCoder().decode(anchors, t, 8)
    assert torch.equal(found[:2], expected[:2])
    assert not expected[2].isfinite().any() and found[2].isfinite().all()
    assert found[2, 0] < -1e9 and found[2, 3] > 1e9


def test_unknown_size():
    with pytest.raises(ValueError, match="size='tanh' is neither"):
        YOLOGridCoder(size='tanh')


def test_boxes_of_a_level_and_of_its_positives():
    """With zero logits every box is its anchor at the centre of its cell."""
    anchors = torch.tensor([[10.0, 13.0], [16.0, 30.0]])
    maps = torch.zeros(1, 2, 2, 3, 5 + 4)
    maps[0, 1, 1, 2, 5:] = torch.arange(4.0)
    output = LevelOutput(maps, anchors, stride=8, level=0, coder=YOLOGridCoder())
    boxes = output.boxes()
    assert boxes.shape == (1, 2, 2, 3, 4)
    assert boxes[0, 0, 0, 1].tolist() == [12, 4, 10, 13]
    slot = [torch.tensor([index]) for index in (0, 1, 1, 2)]  # image, anchor, row, column
    positives, logits = output.at(LevelTargets(*slot, boxes=torch.zeros(1, 4), labels=torch.tensor([3])))
    assert positives.tolist() == [[20, 12, 16, 30]] == boxes[0, 1, 1, 2][None].tolist()
    assert logits.tolist() == [[0, 1, 2, 3]]
