"""The GPU's suppression in blocks, run on the CPU, against the sweep: the same boxes in the same order."""

import importlib
import math

import pytest
import torch

from mmcnn.ops import greedy_blocks as blocks
from mmcnn.ops import nms_of_images

nms = importlib.import_module('mmcnn.ops.nms')


def images(counts, seed, spread=150):
    generator = torch.Generator().manual_seed(seed)
    n = sum(counts)
    corners = torch.rand(n, 2, generator=generator) * spread
    boxes = torch.cat([corners, corners + torch.rand(n, 2, generator=generator) * 80 - 2], dim=1)  # some are inverted
    scores = (torch.rand(n, generator=generator) * 50).round() / 50  # some are equal
    return boxes, scores, torch.randint(0, 3, (n,), generator=generator)


def both(counts, seed=0, threshold=0.4, kind='iou', max_keep=None, offset=0, boxes=None, **settings):
    given = images(counts, seed, **settings)
    given = given if boxes is None else (boxes, *given[1:])
    rest = counts, nms._as_float32(threshold), offset, kind, max_keep
    on_device = nms._on_device(*given, *rest)
    return [each.tolist() for each in on_device], [each.tolist() for each in nms._of_images(*given, *rest)]


@pytest.mark.parametrize(('kind', 'offset'), [('iou', 0), ('iou', 1), ('greedy_diou', 0), ('diou', 0)])
@pytest.mark.parametrize('max_keep', [None, 1, 20])
@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.65])
def test_the_sweep_s_boxes_in_its_order(kind, offset, max_keep, threshold, monkeypatch):
    monkeypatch.setattr(blocks, 'BLOCK_SIZES', (16, 32))
    found, expected = both([150, 0, 1, 60], 1, threshold, kind, max_keep, offset)
    assert found == expected and [len(each) > 0 for each in found] == [True, False, True, True]


def test_infinite_and_undefined_boxes():
    boxes = images([40], 3)[0]
    boxes[::7], boxes[3, 0], boxes[10, 2] = math.nan, -math.inf, math.inf
    found, expected = both([25, 15], 3, boxes=boxes)
    assert found == expected


@pytest.mark.parametrize('rounds', [1, 2])
def test_chains_that_are_longer_than_the_rounds_are_decided_by_more(rounds, monkeypatch):
    """Each box overlaps only the next one, so every other box is kept, and each decision depends on all before it."""
    chain = torch.tensor([[10.0 * i, 0, 10.0 * i + 30, 20] for i in range(40)])
    scores, labels = torch.linspace(1, 0, 40), torch.zeros(40, dtype=torch.long)
    tried, run = [], blocks._Blocks.run
    monkeypatch.setattr(blocks._Blocks, 'run', lambda self, rounds: tried.append(rounds) or run(self, rounds))
    monkeypatch.setattr(blocks, 'ROUNDS', rounds)
    (kept,) = nms._on_device(chain, scores, labels, [40], 0.4, 0, 'iou', None)
    assert kept.tolist() == list(range(0, 40, 2)) and tried == [rounds * 4**i for i in range(len(tried))]
    assert len(tried) > 2


def test_blocks_end_when_all_images_have_enough(monkeypatch):
    monkeypatch.setattr(blocks, 'BLOCK_SIZES', (16, 16))
    seen, decided = [], blocks._Blocks._decided
    monkeypatch.setattr(blocks._Blocks, '_decided', lambda self, *args: seen.append(0) or decided(self, *args))
    found, expected = both([400, 300], max_keep=5, spread=2000)
    assert found == expected and len(seen) == blocks.BLOCKS_BEFORE_LOOK
    seen.clear()
    found, expected = both([400, 300], max_keep=390, spread=2000)
    assert found == expected and len(seen) == 25


def test_images_together_are_each_image_alone():
    counts = [70, 0, 40]
    boxes, scores, labels = images(counts, 5)
    together = nms_of_images(boxes, scores, labels, counts, 0.5, max_keep=30)
    first = 0
    for count, kept in zip(counts, together, strict=True):
        part = slice(first, first + count)
        (alone,) = nms_of_images(boxes[part], scores[part], labels[part], [count], 0.5, max_keep=30)
        assert (alone + first).tolist() == kept.tolist()
        first += count
    assert nms_of_images(boxes[:0], scores[:0], labels[:0], [], 0.5) == []


def test_counts_that_are_not_those_of_the_boxes():
    with pytest.raises(ValueError, match=r'counts=\[2, 2\] must add up to the number of boxes, 3, not 4'):
        nms_of_images(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3, dtype=torch.long), [2, 2], 0.5)
