"""The scores of a report: AP matches our metric, the rest matches COCO's."""

import json

import numpy as np
import pytest

from mmcnn.evaluation import CocoMetric
from mmcnn.report.scores import Scores


@pytest.fixture
def made(tmp_path, coco_of):
    """A file of random annotations, its content, and detections (D, 7) with noisy boxes."""
    rng = np.random.default_rng(3)
    boxes = [(int(rng.integers(1, 6)), int(rng.integers(1, 4)), *map(int, rng.integers(0, 100, 2)),
              *map(int, rng.integers(10, 90, 2))) for _ in range(50)]  # fmt: skip
    coco = coco_of(boxes, images=5, classes=3)
    rows = [
        (image, *(np.array(box) + rng.normal(0, 5, 4)).clip(1), rng.random(), kind) for image, kind, *box in boxes * 2
    ]
    (file := tmp_path / 'val.json').write_text(json.dumps(coco))
    return file, coco, np.array(rows)


def test_the_numbers_are_those_of_our_metric(made):
    file, coco, rows = made
    classes = ('class 3', 'class 1', 'class 2')
    metric = CocoMetric(str(file))
    metric.dataset_meta = dict(classes=classes)
    results = []
    for image in coco['images']:
        own = rows[rows[:, 0] == image['id']]
        boxes = np.concatenate([own[:, 1:3], own[:, 1:3] + own[:, 3:5]], 1)
        labels = [classes.index(f'class {int(kind)}') for kind in own[:, 6]]
        results.append(({}, dict(img_id=image['id'], bboxes=boxes, scores=own[:, 5], labels=np.array(labels))))
    expected = metric.compute_metrics(results)
    scores = Scores(file, coco, rows, classes)
    assert [*scores.metrics.values()] == pytest.approx([*expected.values()][:12], abs=1e-12)
    assert {name: ap for name, _, ap, *_ in scores.of_classes} == pytest.approx(
        {name: expected[f'bbox_AP/{name}'] for name in classes}, abs=1e-12
    )
    # The curves belong to the same classes: their means over recall are AP50 and AP75.
    for iou, place in ((0.5, 3), (0.75, 4)):
        curves = scores.precision_at(iou)
        assert curves.mean(1) == pytest.approx([row[place] for row in scores.of_classes], abs=1e-12)


def test_confusion_is_in_the_order_of_the_classes(tmp_path, coco_of):
    coco = coco_of([(1, 1, 0, 0, 50, 50), (1, 2, 100, 100, 50, 50), (2, 2, 0, 0, 50, 50)])
    (file := tmp_path / 'val.json').write_text(json.dumps(coco))
    rows = np.array([
        (1, 0, 0, 50, 50, 0.9, 2), (1, 100, 100, 50, 50, 0.8, 2), (2, 100, 100, 20, 20, 0.7, 1),
        (2, 0, 0, 50, 50, 0.2, 2),
    ])  # fmt: skip
    scores = Scores(file, coco, rows, ['class 2', 'class 1'])
    # Rows: objects of class 2 and class 1, background; columns: detected as class 2, class 1, missed.
    assert scores.confusion(0.5).tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert scores.confusion(0.1).tolist() == [[2, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_without_detections(made):
    file, coco, _ = made
    scores = Scores(file, coco, np.empty((0, 7)), ('class 1', 'class 2', 'class 3'))
    assert scores.metrics['AP'] == 0 and scores.confusion(0.5)[:-1, :-1].sum() == 0
    assert scores.counts['missed'] == 50 and not any(scores.cost[kind] for kind in scores.cost if kind != 'missed')
