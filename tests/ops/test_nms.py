import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcnn.ops import batched_nms, greedy_sweep, nms, torchvision_op

REFERENCE = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data' / 'reference' / 'mmcv_ops_reference.npz'


def plain_nms(boxes, scores, threshold, offset=0, kind='iou', labels=None):
    """The definition, one pair at a time, in float32 (the criterion of DIoU in float64)."""
    boxes, offset, threshold = boxes.numpy().astype(np.float32), np.float32(offset), np.float32(threshold)
    kept = []
    for i in np.argsort(-scores.numpy(), kind='stable'):
        x1, y1, x2, y2 = boxes[i]
        for k in kept:
            a1, b1, a2, b2 = boxes[k]
            w = max(min(x2, a2) - max(x1, a1) + offset, np.float32(0))
            h = max(min(y2, b2) - max(y1, b1) + offset, np.float32(0))
            inter = w * h
            area = (x2 - x1 + offset) * (y2 - y1 + offset)
            value = inter / ((a2 - a1 + offset) * (b2 - b1 + offset) + area - inter)
            if kind != 'iou':
                rho2 = float((x1 + x2 - a1 - a2) / 2) ** 2 + float((y1 + y2 - b1 - b2) / 2) ** 2
                c2 = float(max(x2, a2) - min(x1, a1)) ** 2 + float(max(y2, b2) - min(y1, b1)) ** 2
                value = value - (rho2 / c2) ** (0.6 if kind == 'greedy_diou' else 1)
            if (labels is None or labels[i] == labels[k]) and value > threshold:
                break
        else:
            kept.append(int(i))
    return kept


def random_boxes(n, seed, low=-50, high=300, longest=120):
    generator = torch.Generator().manual_seed(seed)
    corner = low + torch.rand(n, 2, generator=generator) * (high - low)
    boxes = torch.cat([corner, corner + 1 + torch.rand(n, 2, generator=generator) * longest], 1)
    return boxes, torch.rand(n, generator=generator)


def from_centre(cx, cy, w, h):
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


@pytest.mark.parametrize(('kind', 'kept'), [('iou', [0]), ('greedy_diou', [0, 1]), ('diou', [0])])
def test_kinds_on_hand_worked_boxes(kind, kept):
    # A and B have IoU .6667, Darknet's criterion .5818 and DIoU .6503; A and C share their centre: .6667 in all three.
    side = 81.6496581
    boxes = torch.tensor(
        [from_centre(50, 50, 100, 100), from_centre(70, 50, 100, 100), from_centre(50, 50, side, side)]
    )
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.6, kind=kind).tolist() == kept


@pytest.mark.parametrize(('kind', 'value'), [('iou', 0.6666667), ('greedy_diou', 0.5817873), ('diou', 0.6502732)])
def test_criterion_value_lies_between_thresholds(kind, value):
    boxes = torch.tensor([from_centre(50, 50, 100, 100), from_centre(70, 50, 100, 100)])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, value - 1e-5, kind=kind).tolist() == [0]
    assert nms(boxes, scores, value + 1e-5, kind=kind).tolist() == [0, 1]


@pytest.mark.skipif(not REFERENCE.exists(), reason='reference outputs of the compiled operators are not here')
@pytest.mark.parametrize('case', range(5))
def test_equals_compiled_operator(case):
    reference = np.load(REFERENCE)
    boxes, scores, labels = (torch.from_numpy(reference[f'nms{case}_{name}']) for name in ('boxes', 'scores', 'labels'))
    threshold = float(reference[f'nms{case}_thr'])
    assert nms(boxes, scores, threshold).tolist() == reference[f'nms{case}_keep'].tolist()
    assert nms(boxes, scores, threshold, offset=1).tolist() == reference[f'nms{case}_offset1_keep'].tolist()
    assert batched_nms(boxes, scores, labels, threshold).tolist() == reference[f'nms{case}_batched_keep'].tolist()


@pytest.mark.parametrize('small', [False, True])
@pytest.mark.parametrize(('kind', 'offset'), [('iou', 0), ('iou', 1), ('greedy_diou', 0), ('diou', 0)])
def test_equals_definition(kind, offset, small, monkeypatch):
    if small:  # many blocks, many chunks
        monkeypatch.setattr(greedy_sweep, 'BLOCK_SIZE', 7)
        monkeypatch.setattr(greedy_sweep, 'CROWDED_BLOCK_SIZE', 3)
        monkeypatch.setattr(greedy_sweep, 'MAX_PAIRS', 5)
    boxes, scores = random_boxes(300, seed=offset)
    scores = (scores * 20).round() / 20  # many equal scores
    boxes[::17, 2:] = boxes[::17, :2]  # empty
    boxes[5::31, 2] -= 200  # inverted
    boxes[::2] = boxes[::2].round()
    for threshold in (0.0, 0.3, 0.65, 1.0):
        kept = nms(boxes, scores, threshold, offset, kind).tolist()
        with np.errstate(all='ignore'):
            assert kept == plain_nms(boxes, scores, threshold, offset, kind)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.0005, 0.3, 0.65, 0.999])
def test_no_pair_at_the_threshold_is_lost(threshold, offset):
    """A box at the right or left end of another one overlaps it as late in x as a suppressed box can."""
    generator = np.random.default_rng(0)
    start, width = generator.uniform(-5000, 5000, 300), generator.uniform(20, 900, 300)
    top = generator.uniform(0, 100, 300)
    ends = [start, top, start + width, top + 40]
    share = (width + offset) * threshold - offset + generator.integers(-2, 3, 300) * 1e-4
    inner = [np.where(np.arange(300) % 2, start, start + width - share), top, start + width, top + 40]
    inner[2] = np.where(np.arange(300) % 2, start + share, inner[2])
    boxes = torch.tensor(np.concatenate([np.stack(ends, 1), np.stack(inner, 1)]), dtype=torch.float32)
    scores, labels = torch.linspace(1, 0.1, 600), torch.arange(300).repeat(2)
    kept = [nms(boxes[labels == label], scores[labels == label], threshold, offset).tolist() for label in range(300)]
    assert kept == [
        plain_nms(boxes[labels == label], scores[labels == label], threshold, offset) for label in range(300)
    ]
    if threshold > 0.01:
        assert 50 < sum(len(each) == 1 for each in kept) < 250


@pytest.mark.slow
def test_more_boxes_than_a_block():
    boxes, scores = random_boxes(1300, seed=3)
    kept = nms(boxes, scores, 0.5).tolist()
    assert 512 < len(kept) < 1300
    assert kept == plain_nms(boxes, scores, 0.5)


def test_classes_do_not_touch_each_other():
    boxes, scores = random_boxes(400, seed=4)
    labels = torch.randint(0, 4, (400,), generator=torch.Generator().manual_seed(0)) * 1000 - 7
    assert batched_nms(boxes, scores, labels, 0.4).tolist() == plain_nms(boxes, scores, 0.4, labels=labels)


@pytest.mark.parametrize('classes', [1, 4, 400])
@pytest.mark.parametrize('max_keep', [0, 1, 20, 60, 400])
def test_the_best_boxes_are_found_part_by_part(max_keep, classes, monkeypatch):
    monkeypatch.setattr(greedy_sweep, 'MIN_PART', 30)
    monkeypatch.setattr(greedy_sweep, 'CANDIDATES_PER_KEPT', 2)
    boxes, scores = random_boxes(400, seed=5)
    labels = torch.randint(0, classes, (400,), generator=torch.Generator().manual_seed(1))
    every = plain_nms(boxes, scores, 0.3, labels=labels)
    assert len(every) > max_keep or max_keep == 400  # so that a part is not enough
    assert batched_nms(boxes, scores, labels, 0.3, max_keep=max_keep).tolist() == every[:max_keep]


def test_many_classes_keep_precision():
    # A shift by class would move these 1e8 px away, where float32 cannot distinguish the two widths.
    one = torch.tensor([[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 6.4, 1.0], [0.0, 0.0, 6.6, 1.0]])
    boxes = torch.cat([one, one])
    labels = torch.tensor([0, 0, 0, 10**7, 10**7, 10**7])
    kept = batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), labels, 0.65)
    assert kept.tolist() == [0, 1, 3, 4]


def test_equal_scores_keep_their_order():
    boxes = torch.tensor([[0.0, 0, 9, 9], [50, 50, 59, 59], [0, 0, 9, 9], [100, 0, 109, 9]])
    assert nms(boxes, torch.full((4,), 0.5), 0.5).tolist() == [0, 1, 3]


def test_empty_and_undefined_boxes():
    kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert kept.dtype == torch.int64
    assert kept.shape == (0,)
    assert batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5).shape == (0,)
    nan, inf = float('nan'), float('inf')
    boxes = torch.tensor([[nan, nan, nan, nan], [0, 0, 10, 10], [0, 0, 10, 9], [-inf, 0, inf, 10]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.5).tolist() == [0, 1, 3]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype):
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4]], dtype=dtype, requires_grad=True)
    assert nms(boxes, torch.tensor([0.5, 0.75, 0.25], dtype=dtype), 0.5).tolist() == [1, 2]


def test_memory_is_bounded_when_all_boxes_overlap():
    boxes = torch.tensor([[0.0, 0, 100, 100]]).repeat(5000, 1) + torch.rand(5000, 4)
    tracemalloc.start()
    assert len(nms(boxes, torch.rand(5000), 1.0)) == 5000  # 12.5 million pairs, none suppressed
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(boxes=torch.zeros(2, 5)), r'boxes must have shape \(N, 4\), not \(2, 5\)'),
        (dict(scores=torch.zeros(3)), r'scores must have shape \(2,\).*not \(3,\)'),
        (dict(iou_threshold=65), 'between 0 and 1, not 65'),
        (dict(offset=2), 'offset must be 0 or 1, not 2'),
        (dict(kind='soft'), "'soft'; known kinds: iou, greedy_diou, diou"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        nms(**(dict(boxes=torch.zeros(2, 4), scores=torch.zeros(2), iou_threshold=0.5) | change))


def test_labels_must_match():
    with pytest.raises(ValueError, match=r'labels must have one entry per box, \(2,\), not \(3,\)'):
        batched_nms(torch.zeros(2, 4), torch.zeros(2), torch.zeros(3, dtype=torch.long), 0.5)


def test_torchvision_that_does_not_load_is_absent(tmp_path, monkeypatch):
    (tmp_path / 'torchvision.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    torchvision_op.cache_clear()
    assert torchvision_op('nms', 'cpu') is None
    assert torchvision_op('no_such_operator', 'meta') is None
    torchvision_op.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('kind', ['iou', 'greedy_diou'])
def test_cuda(kind):
    boxes, scores = random_boxes(500, seed=5)
    labels = torch.arange(500) % 3
    kept = batched_nms(boxes.cuda(), scores.cuda(), labels.cuda(), 0.5, kind)
    assert kept.is_cuda
    assert kept.tolist() == batched_nms(boxes, scores, labels, 0.5, kind).tolist()


@pytest.mark.parametrize('max_keep', [1, 7, 300, 5000])
def test_max_keep_is_the_head_of_the_whole_result(max_keep):
    generator = torch.Generator().manual_seed(4)
    corners = torch.rand(3000, 2, generator=generator) * 300
    boxes = torch.cat([corners, corners + torch.rand(3000, 2, generator=generator) * 80 + 1], dim=1)
    scores, labels = torch.rand(3000, generator=generator), torch.randint(0, 3, (3000,), generator=generator)
    whole = batched_nms(boxes, scores, labels, 0.5)
    assert 300 < len(whole) < 5000
    assert torch.equal(batched_nms(boxes, scores, labels, 0.5, max_keep=max_keep), whole[:max_keep])
