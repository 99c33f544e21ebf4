"""Kinds of errors: a hand-worked example, and counts compared with hotcoco's on random boxes."""

import numpy as np
import pytest

from mmcnn.report.errors import DETECTION_KINDS, OBJECT_KINDS, box_overlaps


@pytest.fixture
def judged(analysed):
    """``judged(coco, detections)``: their scores and errors."""

    def judge(coco, detections):
        analysis = analysed(coco, detections)
        return analysis.scores, analysis.errors

    return judge


def test_an_example_by_hand(judged, coco_of):
    coco = coco_of([(1, 1, 10, 10, 40, 40), (1, 2, 100, 100, 40, 40), (2, 1, 10, 10, 20, 20), (2, 1, 100, 100, 20, 20)])
    scores, errors = judged(coco, [
        (1, 10, 10, 40, 40, 0.9, 1), (1, 12, 10, 40, 40, 0.8, 1), (1, 100, 100, 40, 40, 0.7, 1),
        (2, 20, 10, 20, 20, 0.6, 1), (2, 150, 150, 20, 20, 0.5, 1), (2, 90, 90, 20, 20, 0.4, 2),
    ])  # fmt: skip
    assert [DETECTION_KINDS[kind] for kind in errors.kinds] == [
        'right', 'duplicate', 'confused', 'wrongly placed', 'background', 'both',
    ]  # fmt: skip
    assert errors.about.tolist() == [0, 0, 1, 2, -1, -1]
    assert [OBJECT_KINDS[kind] for kind in errors.of_objects()] == ['found', 'confused', 'wrongly placed', 'missed']
    assert [OBJECT_KINDS[kind] for kind in errors.of_objects(0.65)] == ['found', 'confused', 'missed', 'missed']
    assert errors.counts() == scores.counts == {
        'missed': 1, 'duplicate': 1, 'wrongly placed': 1, 'confused': 1, 'both': 1, 'background': 1,
    }  # fmt: skip
    assert errors.counts(0.65) == {
        'missed': 2, 'duplicate': 1, 'wrongly placed': 0, 'confused': 1, 'both': 0, 'background': 0,
    }  # fmt: skip


@pytest.mark.parametrize('seed', range(6))
def test_counts_are_hotcocos(judged, coco_of, seed):
    rng = np.random.default_rng(seed)
    boxes = [(rng.integers(1, 9), rng.integers(1, 4), *rng.integers(0, 120, 2), *rng.integers(10, 60, 2))
             for _ in range(60)]  # fmt: skip
    coco = coco_of([tuple(map(int, each)) for each in boxes], images=8, classes=3)
    near = [boxes[i] for i in rng.integers(0, 60, 150)]
    detections = [
        (image, *(np.array(box) + rng.normal(0, 6, 4)).clip(1), rng.random(), kind if rng.random() < 0.7 else 1)
        for image, kind, *box in near
    ]
    scores, errors = judged(coco, detections)
    assert errors.counts() == scores.counts


def test_a_crowd_is_no_object(judged, coco_of):
    coco = coco_of([(1, 1, 10, 10, 40, 40), (1, 1, 100, 100, 90, 90)], crowd=(1,))
    _, errors = judged(coco, [(1, 110, 110, 20, 20, 0.9, 1), (1, 10, 10, 40, 40, 0.8, 1)])
    assert errors.kinds.tolist() == [-1, 0]
    assert errors.of_objects().tolist() == [0, -1]


def test_nothing_is_detected(judged, coco_of):
    scores, errors = judged(coco_of([(1, 1, 10, 10, 40, 40)]), [])
    assert errors.counts() == scores.counts | {'missed': 1}


def test_overlaps():
    assert box_overlaps(np.array([[0, 0, 10, 10.0]]), np.array([[5, 0, 10, 10.0], [20, 0, 1, 1]])).tolist() == [
        [pytest.approx(1 / 3), 0.0]
    ]
