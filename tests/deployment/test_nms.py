import copy

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from mmcnn.config.load import load_config
from mmcnn.deployment.nms import MAX_CUT, NMS, OUTPUTS, NmsSettings, WithNMS, best_candidates
from mmcnn.errors import UsageError
from mmcnn.models.dense_heads import YOLOHead
from mmcnn.models.wiring import wire
from mmcnn.ops import batched_nms
from mmcnn.registry import MODELS

ANCHORS = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]
STRIDES = (8, 16, 32)
CLASSES = 3
OURS = dict(score_thr=0.3, nms=dict(type='iou', iou_threshold=0.5), nms_pre=150, max_per_img=60, multi_label=True)
#: Case -> changes to OURS: the cut is in the graph; only the best class of a box; the cut is not in the graph.
CASES = {'cut': {}, 'best-class': dict(multi_label=False, score_thr=0.0), 'uncut': dict(nms_pre=MAX_CUT + 1)}
SLOW = pytest.mark.slow
MMDET = dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.45), nms_pre=200, max_per_img=30)
ANY = ({0: torch.export.Dim('n'), 1: torch.export.Dim('b')},) * 2
#: Number of images, and size of the canvas; the last has fewer candidates than nms_pre and fewer boxes than K.
SHAPES = [(1, (64, 96)), (3, (96, 32)), (2, (32, 32))]


def logits_of(images, size, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(images, 3 * (5 + CLASSES), size[0] // s, size[1] // s) for s in STRIDES]
    return [torch.randn(each, generator=generator) for each in sizes]


def decoded_of(head, logits):
    """Return boxes (N, B, 4) and scores (N, B, C) of a YOLOHead."""
    boxes, scores = head.decode(logits)
    return boxes, scores[..., 1:] * scores[..., :1]


def assert_same(found, expected, count, row=0, clip=None):
    """Assert that an image's detections are those of PyTorch's head in its order, padded with -1."""
    num, boxes, scores, labels = (tensor[row] for tensor in found)
    assert len(scores) == count
    assert num == len(expected.scores)
    there = boxes[:num] if clip is None else torch.min(boxes[:num].clamp(min=0), torch.tensor([*clip[::-1]] * 2))
    torch.testing.assert_close(scores[:num], expected.scores, atol=1e-6, rtol=0)
    torch.testing.assert_close(there, expected.bboxes, atol=1e-3, rtol=0)
    assert labels[:num].tolist() == expected.labels.tolist()
    assert (boxes[num:] == -1).all() and (scores[num:] == -1).all() and (labels[num:] == -1).all()


@pytest.fixture(scope='module')
def files(exported):
    """``files(case, test_cfg)``: the exported NMS of a case, exported once."""
    made = {}

    def get(name, test_cfg):
        if name not in made:
            made[name] = exported(NMS(test_cfg), (torch.rand(2, 50, 4), torch.rand(2, 50, CLASSES)), ANY)
        return made[name]

    return get


@pytest.mark.parametrize('case', ['cut', 'best-class', pytest.param('uncut', marks=SLOW)])
def test_it_finds_what_yolo_head_finds(files, case):
    test_cfg = {**OURS, **CASES[case]}
    head = YOLOHead(CLASSES, (8, 8, 8), ANCHORS, STRIDES, bridge=False, test_cfg=test_cfg)
    run, seen = files(case, test_cfg), []
    for seed, (images, size) in enumerate(SHAPES):
        logits = logits_of(images, size, seed)
        found = run(*decoded_of(head, logits))
        expected = head.predict_by_feat(logits, [dict(img_shape=size)] * images)
        for row, each in enumerate(expected):
            assert_same(found, each, test_cfg['max_per_img'], row, clip=size)
            seen.append(len(each.scores))
    assert max(seen) == test_cfg['max_per_img'] > min(seen) > 0


def test_the_cut_of_candidates_makes_a_difference_here(files):
    """Otherwise, the test above would not notice a graph without the cut."""
    logits = logits_of(*SHAPES[1], seed=1)
    few = {**OURS, 'nms_pre': 150, 'max_per_img': 1000}
    head = YOLOHead(CLASSES, (8, 8, 8), ANCHORS, STRIDES, bridge=False, test_cfg=few)
    metas = [dict(img_shape=(96, 32))] * 3
    cut = head.predict_by_feat(logits, metas)
    every = head.predict_by_feat(logits, metas, cfg=dict(nms_pre=30000))
    assert all(len(a.scores) < len(b.scores) for a, b in zip(cut, every, strict=True))


@pytest.fixture(scope='module')
def yolov3_head():
    model = load_config('yolov3_darknet53').model
    model.backbone.update(widen_factor=0.125, init_cfg=None)
    model.neck.out_channels = [32, 16, 8]
    model.bbox_head.update(out_channels=[8, 8, 8], num_classes=CLASSES)
    model.test_cfg.update(nms_pre=MMDET['nms_pre'], max_per_img=MMDET['max_per_img'])
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(wire(model)).bbox_head


def decoded_of_yolov3(head, logits):
    """Decode like MMDetection's YOLOV3Head: threshold and cut by class score, then multiply by objectness."""
    cfg, flat, strides = head.test_cfg, [], []
    for maps, stride in zip(logits, head.featmap_strides, strict=True):
        flat.append(maps.permute(0, 2, 3, 1).reshape(len(maps), -1, head.num_attrib))
        strides.append(torch.full((flat[-1].shape[1], 1), float(stride)))
    flat = torch.cat(flat, dim=1)
    anchors = torch.cat(head.prior_generator.grid_priors([m.shape[-2:] for m in logits], device='cpu'))
    boxes = head.bbox_coder.decode(
        anchors, torch.cat([flat[..., :2].sigmoid(), flat[..., 2:4]], -1), torch.cat(strides)
    )
    objects, classes = flat[..., 4:5].sigmoid(), flat[..., 5:].sigmoid()
    classes = torch.where((classes > cfg.score_thr) & (objects >= cfg.conf_thr), classes, 0.0)
    return boxes, best_candidates(classes, cfg.nms_pre) * objects


def test_it_finds_what_mmdetections_yolov3_head_finds(files, yolov3_head):
    """Its NMS is MMCV's, and it cuts by another score than it sorts by."""
    head, run = yolov3_head, files('mmdet', MMDET)
    seen = []
    for seed, (images, size) in enumerate(SHAPES):
        logits = logits_of(images, size, seed)[::-1]
        decoded = decoded_of_yolov3(head, logits)
        found = run(*decoded)
        expected = head.predict_by_feat(
            copy.deepcopy(logits), [dict(img_shape=size, scale_factor=(1.0, 1.0))] * images, rescale=False
        )
        for row, each in enumerate(expected):
            assert_same(found, each, MMDET['max_per_img'], row)
            seen.append(int((decoded[1][row] > 0).sum()))
    assert max(seen) == MMDET['nms_pre'] > min(seen)


@pytest.mark.slow
@pytest.mark.parametrize('classes', [20, 80])
def test_with_many_classes_mmcvs_rounding_is_the_graphs(exported, classes):
    """MMCV offsets class 79 by 79 image sizes, where float32 has 6 bits less, so other boxes are suppressed."""
    generator, differ = torch.Generator().manual_seed(0), 0
    test_cfg = {**MMDET, 'nms_pre': 2000, 'max_per_img': 2000}
    module = NMS(test_cfg)
    boxes, scores = torch.rand(1, 800, 4, generator=generator), torch.rand(1, 800, classes, generator=generator)
    run = exported(module, (boxes, scores))
    from mmcv.ops import batched_nms as mmcvs

    for _ in range(40):
        # Corners on a coarse grid and few different sides put many IoUs at the threshold.
        corners = (torch.rand(1, 800, 2, generator=generator) * 60).round() * 8.1
        boxes = torch.cat([corners, corners + (torch.rand(1, 800, 2, generator=generator) * 10).ceil() * 8.1], dim=-1)
        scores = torch.rand(1, 800, classes, generator=generator) ** (classes / 4)
        ranked, index = (each[:2000] for each in scores.flatten().sort(descending=True, stable=True))
        expected, kept = mmcvs(boxes[0, index // classes], ranked, index % classes, test_cfg['nms'])
        num, *found = run(boxes, scores)
        assert num == len(kept)
        assert torch.equal(found[1][0, :num], expected[:, 4])
        assert found[2][0, :num].tolist() == (index % classes)[kept].tolist()
        ours = batched_nms(boxes[0, index // classes], ranked, index % classes, test_cfg['nms']['iou_threshold'])
        differ += len(ours) != len(kept)
    assert differ


@pytest.mark.parametrize('count', [40, 60])
def test_equal_scores_keep_the_order_of_boxes_then_of_classes(files, count):
    """The counts give fewer candidates than nms_pre, and more."""
    run, generator = files('cut', OURS), np.random.default_rng(0)
    corners = torch.from_numpy(generator.uniform(0, 100, (2, count, 2))).float()
    boxes = torch.cat([corners, corners + 15], dim=-1)
    scores = torch.from_numpy(generator.integers(0, 9, (2, count, CLASSES)) / 8).float()
    num, found, ranked, labels = run(boxes, scores)
    for row in range(2):
        flat = scores[row].flatten()
        best = flat.sort(descending=True, stable=True).indices[: OURS['nms_pre']]
        best = best[flat[best] > OURS['score_thr']]
        candidates = (boxes[row, best // CLASSES], flat[best], best % CLASSES)
        kept = batched_nms(*candidates, OURS['nms']['iou_threshold'], max_keep=OURS['max_per_img'])
        assert len(kept) == num[row]
        expected = [each[kept] for each in candidates]
        for one, other in zip(expected, (found, ranked, labels), strict=True):
            assert torch.equal(one, other[row, : num[row]])


@pytest.mark.parametrize(('name', 'test_cfg'), [('cut', OURS), ('mmdet', MMDET)])
def test_images_without_a_detection(files, name, test_cfg):
    """An image without detections, beside others with some and alone."""
    boxes, scores = torch.rand(3, 30, 4).cumsum(-1), torch.rand(3, 30, CLASSES) / 2 + 0.5
    scores[1] = 0
    num, *rest = files(name, test_cfg)(boxes, scores)
    assert num[0] > 0 and num[1] == 0 and num[2] > 0
    assert all((each[1] == -1).all() for each in rest)
    num, *rest = files(name, test_cfg)(boxes[1:2], scores[1:2])
    assert num.tolist() == [0] and all((each == -1).all() for each in rest)


@pytest.mark.parametrize('as_onnx', [False, pytest.param(True, marks=SLOW)])
@pytest.mark.parametrize('name', ['tensorrt', 'deepstream'])
def test_layouts_of_other_readers(exported, name, as_onnx):
    boxes, scores = torch.rand(2, 30, 4).cumsum(-1) * 9, torch.rand(2, 30, CLASSES)
    scores[1, 2:] = 0
    test_cfg = {**OURS, 'max_per_img': 50}
    num, *plain = NMS(test_cfg)(boxes, scores)
    assert 0 < num[1] < num[0] < 50
    module = NMS(test_cfg, name)
    run = exported(module, (boxes, scores), ({0: torch.export.Dim('n')},) * 2) if as_onnx else module
    found = run(boxes, scores)
    assert len(found) == len(OUTPUTS[name])
    if name == 'tensorrt':
        assert [(each.dtype, tuple(each.shape)) for each in found] == [
            (torch.int32, (2, 1)), (torch.float32, (2, 50, 4)), (torch.float32, (2, 50)), (torch.int32, (2, 50))
        ]  # fmt: skip
        assert found[0][:, 0].tolist() == num.tolist()
        assert all(torch.equal(a.double(), b.double()) for a, b in zip(found[1:], plain, strict=True))
    else:
        assert tuple(found[0].shape) == (2, 50, 6)
        for rows, count, *each in zip(found[0], num, *plain, strict=True):
            expected = torch.cat([each[0], each[1][:, None], each[2][:, None]], dim=1)[:count]
            assert torch.equal(rows[:count], expected) and (rows[count:] == 0).all()


def test_what_is_dropped_is_said():
    assert NMS(OURS).dropped == [] and NMS({**OURS, 'nms_pre': -1}).dropped == []
    (sentence,) = WithNMS(torch.nn.Identity(), {**OURS, 'nms_pre': 30000}).dropped
    assert 'nms_pre=30000' in sentence and 'max_per_img=60' in sentence


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        (dict(nms=dict(type='greedy_diou', iou_threshold=0.5)), "nms.type='greedy_diou'.*form=decoded"),
        (dict(nms=dict(type='diou', iou_threshold=0.5)), "nms.type='diou'.*form=decoded"),
        (dict(nms=dict(type='soft_nms', iou_threshold=0.5)), "nms.type='soft_nms'.*nms$"),
        (dict(nms=dict(type='iou')), 'iou_threshold'),
        (dict(nms=None), 'iou_threshold'),
        (dict(nms=dict(type='nms', iou_threshold=0.5, class_agnostic=True)), 'class_agnostic'),
        (dict(nms=dict(type='nms', iou_threshold=1.5)), 'between 0 and 1'),
        (dict(max_per_img=-1), 'max_per_img=-1'),
        (dict(score_thr=-0.1), 'score_thr=-0.1'),
    ],
)
def test_what_has_no_operator_is_refused(changed, said):
    with pytest.raises(UsageError, match=said):
        NmsSettings.of({**OURS, **changed})


def test_an_unknown_layout_is_refused():
    with pytest.raises(UsageError, match=r"layout='triton'.*plain, tensorrt, deepstream"):
        NMS(OURS, 'triton')
