"""The YOLO recipes of the configs: heads, assigners and losses, compared with hand-worked numbers.

Losses are for 640 x 640 px and 80 classes; YOLOMeanLoss is 64 times the mean of a micro-batch, so it is divided by 64.
"""

import math

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.registry import MODELS

STRIDES = (8, 16, 32)
LN2 = math.log(2)
#: Objectness and class gains of the configs with a mean loss.
GAINS = {
    'yolov5_n': (1.0, 0.5),
    'yolov5_s': (1.0, 0.5),
    'yolov5_m': (0.7, 0.3),
    'yolov5_l': (0.7, 0.3),
    'yolov5_x': (0.7, 0.3),
    'yolov4_cspdarknet53': (0.6, 0.3),
}
DARKNET = 'yolov4_cspdarknet53_darknet'
RECIPES = ['yolov4_cspdarknet53', DARKNET, 'yolov5_s', 'yolov5_l']
NARROW = {
    'model.backbone.widen_factor': 0.0625,
    'model.backbone.deepen_factor': 0.33,
    'model.neck.widen_factor': 0.0625,
    'model.neck.deepen_factor': 0.33,
}


def built_model(name, classes=80, **options):
    cfg = load_config(name, {'model.bbox_head.num_classes': classes, **options})
    wire_model(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def built_head(name, classes=80, **options):
    """Return the head of a config in double precision."""
    cfg = load_config(name, {'model.bbox_head.num_classes': classes, **options})
    wire_model(cfg)
    model = cfg.model
    # MMDetection's detectors pass these configs on to the head.
    return MODELS.build({**model.bbox_head, 'train_cfg': model.train_cfg, 'test_cfg': model.test_cfg}).double()


def logits(classes=80, size=640, images=1, fill=0.0):
    return [
        torch.full((images, 3 * (5 + classes), size // s, size // s), fill, dtype=torch.float64, requires_grad=True)
        for s in STRIDES
    ]


def truth(*boxes, label=0):
    """Return the objects of an image, given as centre x, centre y, width, height."""
    corners = [[x - w / 2, y - h / 2, x + w / 2, y + h / 2] for x, y, w, h in boxes]
    return InstanceData(
        bboxes=torch.tensor(corners, dtype=torch.float64).view(-1, 4),
        labels=torch.full((len(boxes),), label, dtype=torch.long),
    )


def losses(head, maps, *images):
    found = head.loss_by_feat(maps, list(images), [{}] * len(images))
    return {key.removeprefix('loss_'): value for key, value in found.items()}


def positives(head, *boxes, size=640):
    """Return {anchor: its cells (column, row)} for each level."""
    boxes = torch.tensor(boxes, dtype=torch.float64)
    none = torch.zeros(len(boxes), dtype=torch.long)
    anchors = [torch.tensor(level, dtype=torch.float64) for level in head.anchors]
    found = []
    for level in head.assigner.assign(
        boxes, none, none, anchors, head.strides, [(size // s, size // s) for s in STRIDES]
    ):
        cells = {}
        for anchor, column, row in zip(*(x.tolist() for x in (level.anchor, level.column, level.row)), strict=True):
            cells.setdefault(anchor, []).append((column, row))
        found.append({anchor: sorted(own) for anchor, own in cells.items()})
    return found


# ------------------------------------------------------------------------------------------------ objectness and priors


@pytest.mark.parametrize('name', GAINS)
def test_without_objects_and_without_a_prior(name):
    obj_gain, _ = GAINS[name]
    found = losses(built_head(name), logits(), truth())
    # ln 2 per slot; the levels have weights of 4, 1 and 0.4.
    assert found['obj'].item() / 64 == pytest.approx(3.742995 * obj_gain, abs=1e-6)
    assert found['bbox'].item() == found['cls'].item() == 0


@pytest.mark.parametrize('name', [*GAINS, DARKNET])
def test_prior_of_the_biases(name, monkeypatch):
    """YOLOv5's prior is added to PyTorch's initialisation, here zero."""

    def zero(conv):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)

    head = built_head(name)
    monkeypatch.setattr(nn.Conv2d, 'reset_parameters', zero)
    head.init_weights()
    sizes = zip(head.in_channels, (80, 40, 20), strict=True)
    (out,) = head([torch.zeros(1, c, side, side, dtype=torch.float64) for c, side in sizes])
    for level, objectness in zip(out, (-6.684612, -5.298317, -3.912023), strict=True):
        by_anchor = level.detach()[0, :, 0, 0].view(3, 85)
        assert by_anchor[:, :4].abs().max() == 0
        torch.testing.assert_close(by_anchor[:, 4], torch.full((3,), objectness).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(by_anchor[:, 5:], torch.full((3, 80), -4.880274).double(), rtol=0, atol=1e-6)
    found = losses(head, out, truth())
    if name == DARKNET:  # a sum: 3 * 80 * 80 slots of 0.00124922, and so on
        expected = 3 * (6400 * 0.00124922 + 1600 * 0.00498754 + 400 * 0.01980263)
        assert found['obj'].item() == pytest.approx(expected, rel=1e-5)
    else:
        assert found['obj'].item() / 64 == pytest.approx(0.01790547 * GAINS[name][0], abs=1e-7)


@pytest.mark.parametrize(('name', 'factor'), [('yolov5_s', 0.25), ('yolov5_l', 0.25), ('yolov4_cspdarknet53', 1.0)])
def test_objectness_by_size_of_the_input(name, factor):
    """YOLOv5 scales objectness by (size / 640)**2, WongKinYiu's YOLOv4 does not."""
    found = losses(built_head(name), logits(size=320), truth())
    assert found['obj'].item() / 64 == pytest.approx(3.742995 * GAINS[name][0] * factor, abs=1e-6)


# ----------------------------------------------------------------------------------------------------------- one object

OBJECT = (321, 203, 60, 90)
#: For each level, the mean of 1 - CIoU between OBJECT and the anchors of its positives, centred in their cells.
BOX_MEANS = {'yolov5': (0.8897200, 0.5585511, 0.7175444), 'yolov4': (0.8375058, 0.5108654, 0.7942073)}


@pytest.mark.parametrize('name', GAINS)
def test_one_object(name):
    obj_gain, cls_gain = GAINS[name]
    head = built_head(name)
    assert [sum(map(len, level.values())) for level in positives(head, OBJECT)] == [6, 9, 6]
    found = losses(head, logits(), truth(OBJECT, label=5))
    assert found['bbox'].item() / 64 == pytest.approx(0.05 * sum(BOX_MEANS[name[:6]]), abs=1e-6)
    assert found['obj'].item() / 64 == pytest.approx(3.742995 * obj_gain, abs=1e-6)  # independent of the target
    assert found['cls'].item() / 64 == pytest.approx(3 * LN2 * cls_gain, abs=1e-6)
    if name in ('yolov5_n', 'yolov5_s'):
        assert found['bbox'].item() / 64 == pytest.approx(0.1082908, abs=1e-6)
        assert sum(found.values()).item() / 64 == pytest.approx(4.8910063, abs=1e-6)


@pytest.mark.parametrize('name', ['yolov5_l', 'yolov4_cspdarknet53'])
def test_class_loss_by_number_of_classes(name):
    for classes, factor in ((20, 20 / 80), (2, 2 / 80), (1, 0)):
        found = losses(built_head(name, classes), logits(classes), truth(OBJECT))
        assert found['cls'].item() / 64 == pytest.approx(3 * LN2 * 0.3 * factor, abs=1e-6)


def test_one_object_after_darknet():
    head = built_head(DARKNET)
    # One cell and the anchors with a shape IoU above 0.213: 0.5, 0.5255, 0.5137 on level /16, 0.3457 on level /32.
    assert positives(head, OBJECT) == [{}, {0: [(20, 12)], 1: [(20, 12)], 2: [(20, 12)]}, {0: [(10, 6)]}]
    maps = logits()
    found = losses(head, maps, truth(OBJECT, label=5))
    assert found['cls'].item() == pytest.approx(4 * 80 * LN2)
    assert found['bbox'].item() == pytest.approx(4.0 * 2.1548674, abs=1e-5)  # box_gain times the sum of 1 - CIoU
    # With all classes at 0.5, slots whose boxes have an IoU above 0.7 with the object, if any, are ignored.
    assert 3 * 8400 * LN2 * 0.999 < found['obj'].item() <= 3 * 8400 * LN2


# ---------------------------------------------------------------------------------------------- assignment and decoding


def each(anchors, *cells):
    return {anchor: sorted(cells) for anchor in anchors}


MIDDLE = each((0, 1, 2), (5, 6), (6, 5), (6, 6))
#: Object -> its positives with YOLOv5's and with YOLOv4's anchors: size ratios below 4, nearest cells.
ASSIGNED = {
    OBJECT: (
        [
            each((1, 2), (39, 25), (40, 24), (40, 25)),
            each((0, 1, 2), (19, 12), (20, 12), (20, 13)),
            each((0, 1), (9, 6), (10, 5), (10, 6)),
        ],
    )
    * 2,
    (5, 5, 20, 20): ([each((0, 1, 2), (0, 0), (0, 1), (1, 0)), each((0, 1), (0, 0)), {}],) * 2,
    (636, 400, 12, 300): ([{}, {}, {}],) * 2,
    (100, 100, 8, 8): ([each((0, 1), (12, 12)), {}, {}], [each((0,), (12, 12)), {}, {}]),  # 36 / 8 is above 4
    # In the corner of the map, the nearest neighbours would be outside; the object's cell counts once.
    (3, 637, 20, 20): ([each((0, 1, 2), (0, 79)), each((0, 1), (0, 39)), {}],) * 2,
    # 63 / 16 is just below 4; 48 / 12 and 64 / 16 are exactly 4, which is too much.
    (100, 100, 47, 63): (
        [each((1, 2), (12, 12)), MIDDLE, each((0, 1), (2, 3), (3, 2), (3, 3))],
        [each((0, 1, 2), (12, 12)), MIDDLE, each((0,), (2, 3), (3, 2), (3, 3))],
    ),
    (100, 100, 48, 64): (
        [each((1, 2), (12, 12)), MIDDLE, each((0, 1), (2, 3), (3, 2), (3, 3))],
        [each((1, 2), (12, 12)), MIDDLE, each((0,), (2, 3), (3, 2), (3, 3))],
    ),
}


@pytest.mark.parametrize('box', ASSIGNED, ids=str)
def test_assignment_of_the_configs(box):
    v5, v4 = ASSIGNED[box]
    assert positives(built_head('yolov5_s'), box) == positives(built_head('yolov5_x'), box) == v5
    assert positives(built_head('yolov4_cspdarknet53'), box) == v4


@pytest.mark.parametrize(
    ('size', 'anchors'),
    [((60, 90), {3, 4, 5, 6}), ((20, 20), {0, 1, 2}), ((300, 200), {6, 7, 8}), ((8, 8), {0})],
    ids=str,
)
def test_assignment_after_darknet(size, anchors):
    found = positives(built_head(DARKNET), (320.5, 210.0, *size))
    assert {3 * i + anchor for i, level in enumerate(found) for anchor in level} == anchors
    assert all(len(cells) == 1 for level in found for cells in level.values())


def one_slot(level, anchor, row, column, values, classes=80):
    """Return output maps for 640 px with a single slot whose score is not near 0."""
    maps = [m.detach() for m in logits(classes, fill=-20.0)]
    channels = slice(anchor * (5 + classes), anchor * (5 + classes) + len(values))
    maps[level][0, channels, row, column] = torch.tensor(values, dtype=torch.float64)
    return maps


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('yolov5_s', (170.382161, 114.617991, 96.088994, 36.476897)),
        ('yolov5_l', (170.382161, 114.617991, 96.088994, 36.476897)),
        ('yolov4_cspdarknet53', (170.382161, 114.617991, 117.786508, 44.582875)),
        (DARKNET, (169.310188, 117.039895, 125.302817, 45.030191)),
    ],
)
def test_from_logits_to_a_box(name, expected):
    """(0.3, -0.7, 0.5, -0.2) in row 7, column 10 of level /16, anchor 1: (62, 45) in YOLOv5, (76, 55) in YOLOv4."""
    maps = one_slot(1, 1, 7, 10, (0.3, -0.7, 0.5, -0.2, 2.0, -20.0, 1.0))
    (found,) = built_head(name).predict_by_feat(maps, [dict(img_shape=(640, 640))])
    x, y, w, h = expected
    box = torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], dtype=torch.float64)
    torch.testing.assert_close(found.bboxes, box, rtol=0, atol=1e-5)
    score = 1 / (1 + math.exp(-2)) / (1 + math.exp(-1))
    assert found.scores.item() == pytest.approx(score)
    assert found.labels.tolist() == [1]


# ---------------------------------------------------------------------------------------------------------- suppression


def logit(p):
    return math.log(p / (1 - p))


def slot_values(name, anchor, offset, size, score):
    """Return logits that decode to a centre ``offset`` cells into its cell and a size of ``size`` px, on level /32."""
    if name == DARKNET:
        t = [logit((o + 0.025) / 1.05) for o in offset] + [math.log(s / a) for s, a in zip(size, anchor, strict=True)]
    else:
        t = [logit((o + 0.5) / 2) for o in offset]
        t += [logit(math.sqrt(s / a) / 2) for s, a in zip(size, anchor, strict=True)]
    return [*t, logit(score), 20.0]


def three_boxes(name, head):
    """Boxes of one class: A (50, 50, 100, 100), B (70, 50, 100, 100), and C, a smaller A with IoU 2/3; scores fall.

    A and B: IoU .6667, Darknet's criterion .5818, DIoU .6503. A and C: all three .6667.
    """
    maps = [m.detach() for m in logits(3, size=192, fill=-20.0)]
    for anchor, x, side, score in ((0, 50, 100, 0.9), (0, 70, 100, 0.8), (1, 50, 81.6496581, 0.7)):
        values = slot_values(name, head.anchors[2][anchor], (x / 32 % 1, 50 / 32 % 1), (side, side), score)
        maps[2][0, 8 * anchor : 8 * anchor + 6, 1, x // 32] = torch.tensor(values, dtype=torch.float64)
    return maps


@pytest.mark.parametrize('name', RECIPES)
@pytest.mark.parametrize(('kind', 'kept'), [('iou', [50]), ('greedy_diou', [50, 70]), ('diou', [50])])
def test_kinds_of_suppression(name, kind, kept):
    options = {'model.test_cfg.nms.type': kind, 'model.test_cfg.nms.iou_threshold': 0.6}
    head = built_head(name, 3, **options)
    (found,) = head.predict_by_feat(three_boxes(name, head), [dict(img_shape=(192, 192))])
    assert ((found.bboxes[:, 0] + found.bboxes[:, 2]) / 2).tolist() == pytest.approx(kept)
    (every,) = head.predict_by_feat(three_boxes(name, head), [dict(img_shape=(192, 192))], with_nms=False)
    sides = (every.bboxes[:, 2:] - every.bboxes[:, :2]).flatten()
    assert sides.sort().values.tolist() == pytest.approx([81.6496581] * 2 + [100.0] * 4)


@pytest.mark.parametrize(('name', 'count'), zip(RECIPES, (1, 2, 1, 1), strict=True))
def test_suppression_of_the_configs(name, count):
    """Only Darknet's recipe keeps B."""
    head = built_head(name, 3)
    (found,) = head.predict_by_feat(three_boxes(name, head), [dict(img_shape=(192, 192))])
    assert len(found) == count


def test_unknown_suppression_is_named():
    head = built_head('yolov5_s', 3, **{'model.test_cfg.nms.type': 'soft'})
    with pytest.raises(ValueError, match="'soft'; known kinds: iou, greedy_diou, diou"):
        head.predict_by_feat(three_boxes('yolov5_s', head), [dict(img_shape=(192, 192))])


# ------------------------------------------------------------------------------------------------ whole narrow networks


UNMATCHED, SMALL, LARGE = (11, 35, 2, 50), (20, 20, 9, 9), (48, 32, 60, 50)
#: Objects of two images, and whether the ratio rule assigns any of them. Darknet's rule always does.
BATCHES = {
    'no objects': (((), ()), False),
    'no anchor takes it': (((UNMATCHED,), ()), False),
    'one level only': (((SMALL,), ()), True),
    'some of each': (((SMALL, LARGE), (UNMATCHED,)), True),
}


@pytest.mark.parametrize('classes', [1, 3])
@pytest.mark.parametrize('name', RECIPES)
def test_every_parameter_learns_from_every_batch(name, classes):
    model = built_model(name, classes, **NARROW)
    model.init_weights()
    images = torch.rand(2, 3, 64, 96)
    darknet = name == DARKNET
    assert any(positives(model.bbox_head, UNMATCHED)) == darknet
    assert [bool(level) for level in positives(model.bbox_head, SMALL)] == [True, False, False]
    for objects, matched in BATCHES.values():
        model.zero_grad()
        batch = [truth(*boxes, label=classes - 1) for boxes in objects]
        found = losses(model.bbox_head, *model.bbox_head(model.extract_feat(images)), *batch)
        sum(found.values()).backward()
        assert all(value.isfinite() for value in found.values()), found
        assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
        for conv in model.bbox_head.predictions:
            assert (conv.bias.grad.view(3, -1)[:, 4] != 0).all()  # objectness has a gradient on every level
        taken = matched or (darknet and any(objects))
        assert (found['bbox'] > 0) == taken
        assert (found['cls'] > 0) == (taken and (classes > 1 or darknet))


@pytest.mark.parametrize('name', RECIPES)
def test_sides_that_the_stride_does_not_divide(name):
    with torch.device('meta'):
        model = built_model(name, **NARROW)
        with pytest.raises(ValueError, match=r'a map of \(4, 4\) cannot be upsampled to one of \(7, 7\): image sides'):
            model.extract_feat(torch.empty(1, 3, 100, 100))
        model.extract_feat(torch.empty(1, 3, 96, 128))
    assert model.data_preprocessor.pad_size_divisor == 32


@pytest.mark.parametrize('name', RECIPES)
def test_labels_beyond_the_classes(name):
    with pytest.raises(ValueError, match='labels from 3 to 3, but num_classes=3: set num_classes of the head'):
        losses(built_head(name, 3), logits(3), truth(OBJECT, label=3))
