import numpy as np
import pytest
import torch

from mmcnn.ops import batched_nms
from mmcnn.ops.greedy_sweep import NMS_KINDS, greedy_nms


def random_boxes(number):
    generator = np.random.default_rng(0)
    corner = generator.uniform(-50, 300, (number, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(1, 120, (number, 2))], 1).astype(np.float32)
    scores = generator.uniform(size=number).astype(np.float32).round(2)  # many are equal
    return boxes, scores, generator.integers(0, 4, number)


@pytest.mark.parametrize('max_keep', [None, 1, 37, 10_000])
@pytest.mark.parametrize('kind', NMS_KINDS)
def test_arrays_give_what_tensors_give(kind, max_keep):
    boxes, scores, labels = random_boxes(1500)
    kept = greedy_nms(boxes, scores, labels, 0.45, kind, max_keep)
    expected = batched_nms(*map(torch.from_numpy, (boxes, scores, labels)), 0.45, kind, max_keep)
    assert 1 <= len(kept) < 1500
    assert kept.dtype == np.int64
    assert kept.tolist() == expected.tolist()


def test_nothing_to_keep():
    assert greedy_nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5).tolist() == []
