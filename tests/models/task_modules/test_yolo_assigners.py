import math

import pytest
import torch

from mmcnn.models.task_modules import RatioAssigner, ShapeIoUAssigner, host_device

V5 = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]
V4 = [[(12, 16), (19, 36), (40, 28)], [(36, 75), (76, 55), (72, 146)], [(142, 110), (192, 243), (459, 401)]]
STRIDES = (8, 16, 32)
SIZES = ((80, 80), (40, 40), (20, 20))


def assign(assigner, boxes, anchors, sizes=SIZES):
    boxes = torch.tensor(boxes, dtype=torch.float64).view(-1, 4)
    anchors = [torch.tensor(level, dtype=torch.float64) for level in anchors]
    labels = torch.arange(len(boxes))
    return assigner.assign(boxes, labels, torch.zeros(len(boxes), dtype=torch.long), anchors, STRIDES, sizes)


def by_anchor(level):
    found = {}
    for anchor, column, row in zip(level.anchor.tolist(), level.column.tolist(), level.row.tolist(), strict=True):
        found.setdefault(anchor, []).append((column, row))
    return {anchor: sorted(cells) for anchor, cells in found.items()}


def each(anchors, cells):
    return dict.fromkeys(anchors, cells)


# Object (cx, cy, w, h) -> for each level {anchor: cells (column, row)}, worked out by hand for a 640 px input.
RATIO_VECTORS = [
    (
        (321, 203, 60, 90),
        [
            each((1, 2), [(39, 25), (40, 24), (40, 25)]),
            each((0, 1, 2), [(19, 12), (20, 12), (20, 13)]),
            each((0, 1), [(9, 6), (10, 5), (10, 6)]),
        ],
    ),
    ((5, 5, 20, 20), [each((0, 1, 2), [(0, 0), (0, 1), (1, 0)]), each((0, 1), [(0, 0)]), {}]),
    ((636, 400, 12, 300), [{}, {}, {}]),
    ((100, 100, 8, 8), [each((0, 1), [(12, 12)]), {}, {}]),
]


@pytest.mark.parametrize(('box', 'expected'), RATIO_VECTORS, ids=lambda v: str(v)[:24])
def test_ratio_vectors(box, expected):
    assert [by_anchor(level) for level in assign(RatioAssigner(), [box], V5)] == expected


def test_ratio_centre_offsets():
    level = assign(RatioAssigner(), [(321, 203, 60, 90)], V5)[0]
    offsets = level.boxes[:, :2] / 8 - torch.stack([level.column, level.row], 1)
    assert {tuple(o) for o in offsets.tolist()} == {(0.125, 0.375), (1.125, 0.375), (0.125, 1.375)}


def test_ratio_neighbours_stay_inside_the_map():
    level = assign(RatioAssigner(), [(639.9, 319.9, 12, 12)], V5, sizes=((40, 80), (20, 40), (10, 20)))[0]
    assert set(zip(level.column.tolist(), level.row.tolist(), strict=True)) == {(79, 39), (78, 39), (79, 38)} - {
        (78, 39),
        (79, 38),
    }  # the centre is in the far half of the last cell, so its neighbours are outside


def test_ratio_own_cell_only():
    level = assign(RatioAssigner(offset=0.0), [(321, 203, 60, 90)], V5)[0]
    assert by_anchor(level) == each((1, 2), [(40, 25)])


SHAPE_VECTORS = [
    ((60, 90), {3, 4, 5, 6}, 4),
    ((20, 20), {0, 1, 2}, 1),
    ((300, 200), {6, 7, 8}, 7),
    ((8, 8), {0}, 0),
]


@pytest.mark.parametrize(('size', 'positives', 'best'), SHAPE_VECTORS, ids=str)
def test_shape_iou_vectors(size, positives, best):
    box = (320.5, 210.0, *size)
    levels = assign(ShapeIoUAssigner(0.213), [box], V4)
    found = {3 * i + a for i, level in enumerate(levels) for a in level.anchor.tolist()}
    assert found == positives
    for stride, level in zip(STRIDES, levels, strict=True):
        assert set(level.column.tolist()) <= {int(320.5 // stride)} and set(level.row.tolist()) <= {210 // stride}
    only = assign(ShapeIoUAssigner(1.0), [box], V4)
    assert [3 * i + a for i, level in enumerate(only) for a in level.anchor.tolist()] == [best]


@pytest.mark.parametrize(('size', 'best'), [((60, 90), 5), ((20, 20), 1), ((300, 200), 7), ((8, 8), 0)], ids=str)
def test_yolov3_best_anchor(size, best):
    levels = assign(ShapeIoUAssigner(1.0), [(100, 100, *size)], V5)
    assert [3 * i + a for i, level in enumerate(levels) for a in level.anchor.tolist()] == [best]


@pytest.mark.parametrize('assigner', [RatioAssigner(), ShapeIoUAssigner()], ids=lambda a: type(a).__name__)
def test_no_objects_and_who_is_whose(assigner):
    empty = assigner.assign(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long),
        [torch.tensor(level, dtype=torch.float32) for level in V4], STRIDES, SIZES,
    )  # fmt: skip
    assert [len(level.image) for level in empty] == [0, 0, 0]
    boxes = torch.tensor([[100.0, 100.0, 20.0, 20.0], [400.0, 300.0, 20.0, 20.0]])
    levels = assigner.assign(
        boxes, torch.tensor([7, 3]), torch.tensor([1, 0]),
        [torch.tensor(level, dtype=torch.float32) for level in V4], STRIDES, SIZES,
    )  # fmt: skip
    for level in levels:
        for image, label, box in zip(level.image.tolist(), level.labels.tolist(), level.boxes.tolist(), strict=True):
            assert (image, label, box) in [(1, 7, boxes[0].tolist()), (0, 3, boxes[1].tolist())]
    assert {label for level in levels for label in level.labels.tolist()} == {3, 7}


@pytest.mark.parametrize(
    'assigner',
    [RatioAssigner(), RatioAssigner(offset=0.7), ShapeIoUAssigner()],
    ids=['ratio', 'far neighbours', 'shape IoU'],
)
def test_fixed_shapes_have_the_same_positives_in_the_same_order(assigner, monkeypatch):
    """A GPU does not select. Some centres are on borders of cells and of the image, and some slots are shared."""
    generator = torch.Generator().manual_seed(2)
    boxes = torch.rand(60, 4, generator=generator, dtype=torch.float64) * 300
    boxes[:20, :2] = (boxes[:20, :2] / 16).round() * 16
    boxes[20:24, :2] = torch.tensor([[0, 0], [640, 640], [640, 0], [639.99, 3]])
    boxes[40:50] = boxes[30:40]
    boxes[50, 2:], boxes[51, 2:] = 0, math.nan
    labels, image = torch.arange(60), torch.arange(60) % 4
    anchors = [torch.tensor(level, dtype=torch.float64) for level in (V5[0], V5[1][:2], V5[2])]
    given = boxes, labels, image, anchors, STRIDES, SIZES
    selected = assigner.assign(*given)
    monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    for level, fixed in zip(selected, assigner.assign(*given), strict=True):
        assert len(fixed.valid) > len(level.image) == fixed.valid.sum() > 10 and level.valid is None
        for name in ('image', 'anchor', 'row', 'column', 'boxes', 'labels'):
            assert torch.equal(getattr(fixed, name)[fixed.valid].nan_to_num(), getattr(level, name).nan_to_num()), name
        others = fixed.boxes[~fixed.valid]
        assert others.isfinite().all() and (others[:, 2:] > 0).all()


@pytest.mark.parametrize('assigner', [RatioAssigner(), ShapeIoUAssigner()], ids=lambda a: type(a).__name__)
def test_fixed_shapes_without_objects(assigner, monkeypatch):
    monkeypatch.setattr(host_device, 'selects_freely', lambda tensor: False)
    assert [len(level.valid) for level in assign(assigner, [], V5)] == [0, 0, 0]
