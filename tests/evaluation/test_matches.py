"""Matching of detections and objects, against hotcoco's diagnostics and by hand."""

import numpy as np
import pytest
from hotcoco import COCO, COCOeval

import mmcnn.evaluation.matches as module
from mmcnn.evaluation.matches import Objects, match


def random_data(rng, num_images=12, most=40):
    """Annotations and detections (N, 7) with crowds, equal scores, equal boxes, and images without either."""
    annotations, rows = [], []
    for image in range(100, 100 + num_images):
        for _ in range(rng.integers(0, 8)):
            box = np.concatenate([rng.integers(0, 60, 2), rng.integers(5, 50, 2)]).astype(float)
            category, area = int(rng.choice([3, 17])), float(rng.choice([0.6 * box[2] * box[3], 2e10], p=[0.9, 0.1]))
            annotations.append(
                dict(id=len(annotations) + 1, image_id=image, category_id=category, bbox=box.tolist(), area=area,
                     iscrowd=int(rng.random() < 0.2))
            )  # fmt: skip
            for _ in range(rng.integers(0, 5)):
                near = box + rng.integers(-3, 4, 4)
                rows.append([image, *near, rng.integers(1, 8) / 8, category if rng.random() < 0.9 else 20])
        for _ in range(rng.integers(0, most)):
            rows.append([image, *rng.integers(0, 60, 2), *rng.integers(5, 50, 2), rng.integers(1, 8) / 8, 3])
    rows = np.array(rows, float)[rng.permutation(len(rows))]
    return annotations, rows


def by_hotcoco(annotations, rows, limit, threshold=0.5):
    images = [dict(id=int(each), file_name='', width=100, height=100) for each in range(100, 112)]
    categories = [dict(id=each, name=str(each)) for each in (3, 17, 20)]
    coco = COCO(dict(images=images, annotations=annotations, categories=categories))
    evaluation = COCOeval(coco, coco.load_res(rows), 'bbox')
    evaluation.params.maxDets = [1, limit]
    evaluation.evaluate()
    status = evaluation.image_diagnostics(iou_thr=threshold, score_thr=0.0)['dt_status']  # ids are 1, 2, ... by row
    states = [status.get(i + 1) for i in range(len(rows))]
    return [each is not None for each in states], [each == 'tp' for each in states]


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize(('limit', 'pairs'), [(100, 1 << 14), (5, 7)])  # per group; compared at once
def test_as_hotcoco_matches(monkeypatch, seed, limit, pairs):
    monkeypatch.setattr(module, '_PAIRS', pairs)
    annotations, rows = random_data(np.random.default_rng(seed))
    counted, found = match(rows, Objects.of(annotations), 0.5, limit)
    expected = by_hotcoco(annotations, rows, limit)
    assert counted.tolist() == expected[0]
    assert found.tolist() == expected[1]
    # The case is not trivial: some do not count, some find an object, some do not.
    assert 0 < found.sum() < counted.sum() < len(rows)


def test_by_hand():
    def annotation(number, box, **others):
        return dict(id=number, image_id=1, category_id=1, bbox=box, area=box[2] * box[3], **others)

    objects = Objects.of([
        annotation(1, [0, 0, 10, 10]),
        annotation(2, [100, 0, 50, 50], iscrowd=1),
        dict(id=3, image_id=1, category_id=1),  # nothing can find an object without a box
    ])  # fmt: skip
    rows = np.array([
        [1, 0, 0, 10, 8, 0.5, 1],  # IoU 0.8, but the next one has the higher score
        [1, 0, 0, 10, 6, 0.9, 1],
        [1, 110, 10, 10, 10, 0.8, 1],  # in the crowd, like the next one
        [1, 110, 10, 10, 10, 0.7, 1],
        [1, 0, 0, 10, 10, 0.95, 2],  # another class
        [2, 0, 0, 10, 10, 0.95, 1],  # another image
    ])  # fmt: skip
    counted, found = match(rows, objects, 0.5, 100)
    assert counted.tolist() == [True, True, False, False, True, True]
    assert found.tolist() == [False, True, False, False, False, False]
    counted, found = match(rows[:2], objects, 0.7, 100)
    assert found.tolist() == [True, False]
    counted, found = match(rows[:2], objects, 0.7, 1)  # only the higher score counts
    assert (counted.tolist(), found.tolist()) == ([False, True], [False, False])


@pytest.mark.parametrize('annotations', [[], [dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 9, 9], area=81)]])
def test_nothing_to_match(annotations):
    counted, found = match(np.empty((0, 7)), Objects.of(annotations), 0.5, 100)
    assert len(counted) == len(found) == 0
    counted, found = match(np.array([[7, 0, 0, 9, 9, 0.5, 1.0]]), Objects.of(annotations), 0.5, 100)
    assert counted.all() and not found.any()
