"""CocoMetric against pycocotools on the same detections."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS

from mmcnn.evaluation import CocoMetric

CLASSES = ('chat', 'dog', 'größe', 'never annotated')
# Neither the ids nor the file's order follow the order of the classes.
CATEGORY_IDS = {'chat': 17, 'dog': 3, 'größe': 9, 'never annotated': 5, 'not ours': 1}


def write_ground_truth(path, annotations, num_images):
    ground_truth = {
        'images': [{'id': 100 + i, 'width': 640, 'height': 480, 'file_name': f'{i}.jpg'} for i in range(num_images)],
        'categories': [{'id': cat_id, 'name': name} for name, cat_id in sorted(CATEGORY_IDS.items())],
        'annotations': [dict(annotation, id=i + 1) for i, annotation in enumerate(annotations)],
    }
    path.write_text(json.dumps(ground_truth), encoding='utf-8')
    return str(path)


def annotation(image, name, box, iscrowd=0):
    x, y, w, h = (float(v) for v in box)
    # The area of a COCO object is that of its mask, not of its box.
    return {
        'image_id': 100 + image,
        'category_id': CATEGORY_IDS[name],
        'bbox': [x, y, w, h],
        'area': 0.7 * w * h,
        'iscrowd': iscrowd,
    }


def sample(image, boxes, scores, labels):
    """A data sample as the detectors give it; boxes xywh."""
    boxes = torch.tensor(np.asarray(boxes), dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances = {
        'bboxes': boxes,
        'scores': torch.tensor(np.asarray(scores), dtype=torch.float32),
        'labels': torch.tensor(np.asarray(labels), dtype=torch.int64),
    }
    return {'img_id': 100 + image, 'ori_shape': (480, 640), 'pred_instances': instances}


def random_case(rng, num_images=30, crowds=True):
    """Objects of all sizes, crowds, images without objects or detections, tied scores, over 100 detections."""
    annotations, samples = [], []
    for image in range(num_images):
        boxes, scores, labels = [], [], []
        for _ in range(rng.integers(0, 9)):
            side = np.exp(rng.uniform(np.log(6), np.log(250), 2))
            box = np.concatenate([rng.uniform(0, 380, 2), side])
            label = rng.integers(0, 3)
            annotations.append(annotation(image, CLASSES[label], box, int(crowds and rng.random() < 0.15)))
            for _ in range(rng.integers(0, 4)):
                boxes.append(box + rng.normal(0, 0.08, 4) * np.tile(side, 2))
                scores.append(rng.integers(1, 20) / 20)
                labels.append(label if rng.random() < 0.9 else rng.integers(0, 4))
        for _ in range(400 if image == 3 else rng.integers(0, 30)):
            boxes.append([*rng.uniform(0, 400, 2), *rng.uniform(4, 200, 2)])
            scores.append(rng.integers(1, 18) / 20)
            labels.append(rng.integers(0, 2 if image == 3 else 4))
        if image % 10 == 5:
            boxes, scores, labels = [], [], []
        samples.append(sample(image, boxes, scores, labels))
    return annotations, samples


def pycocotools_reference(ann_file, samples):
    """The 12 numbers and the AP of each class, from pycocotools and its own reading of the files."""
    coco = pytest.importorskip('pycocotools.coco')
    cocoeval = pytest.importorskip('pycocotools.cocoeval')
    detections = []
    for data in samples:
        instances = data['pred_instances']
        for box, score, label in zip(
            instances['bboxes'].double(), instances['scores'].double(), instances['labels'], strict=True
        ):
            x1, y1, x2, y2 = box.tolist()
            detections.append(
                {
                    'image_id': data['img_id'],
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'score': score.item(),
                    'category_id': CATEGORY_IDS[CLASSES[label]],
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = coco.COCO(ann_file)
        result = ground_truth.loadRes(detections)

        def evaluate(names):
            evaluation = cocoeval.COCOeval(ground_truth, result, 'bbox')
            evaluation.params.catIds = [CATEGORY_IDS[name] for name in names]
            evaluation.params.maxDets = [1, 10, 100]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            return evaluation.stats

        return evaluate(CLASSES), {name: evaluate([name])[0] for name in CLASSES}


def run(ann_file, samples, **kwargs):
    metric = METRICS.build(dict(type='mmcnn.CocoMetric', ann_file=ann_file, **kwargs))
    metric.dataset_meta = {'classes': CLASSES}
    for data in samples:
        metric.process({}, [data])
    return metric.evaluate(size=len(samples))


SUMMARY = [
    *('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', 'bbox_mAP_m', 'bbox_mAP_l'),
    *('bbox_AR@1', 'bbox_AR@10', 'bbox_AR@100', 'bbox_AR_s@100', 'bbox_AR_m@100', 'bbox_AR_l@100'),
]


@pytest.mark.parametrize('seed', range(4))
def test_equals_pycocotools(tmp_path, seed):
    annotations, samples = random_case(np.random.default_rng(seed))
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, len(samples))
    metrics = run(ann_file, samples)
    stats, per_class = pycocotools_reference(ann_file, samples)

    assert list(metrics) == [f'coco/{key}' for key in SUMMARY] + [f'coco/bbox_AP/{name}' for name in CLASSES]
    np.testing.assert_allclose([metrics[f'coco/{key}'] for key in SUMMARY], stats, atol=1e-6, rtol=0)
    # The case says something: partial success, all limits on the number of detections matter.
    assert 0.1 < stats[0] < 0.9
    assert stats[6] < stats[7] < stats[8]
    for name in CLASSES[:3]:
        assert metrics[f'coco/bbox_AP/{name}'] == pytest.approx(per_class[name], abs=1e-6)
    assert per_class['never annotated'] == -1
    assert math.isnan(metrics['coco/bbox_AP/never annotated'])
    assert metrics['coco/bbox_mAP'] == pytest.approx(np.mean([per_class[name] for name in CLASSES[:3]]), abs=1e-6)


def test_hand_worked_numbers(tmp_path):
    """One object found exactly, one with IoU 70 / 130 = 0.54, one missed."""
    annotations = [
        annotation(0, 'chat', (10, 10, 100, 100)),
        annotation(0, 'dog', (200, 200, 100, 100)),
        annotation(1, 'dog', (10, 10, 100, 100)),
    ]
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, 2)
    samples = [sample(0, [[10, 10, 100, 100]], [0.9], [0]), sample(1, [[40, 10, 100, 100]], [0.8], [1])]
    metrics = run(ann_file, samples)
    # dog: matched at the IoU threshold 0.5 alone; recall 1/2 there, precision 1 at 51 of the 101 recall points.
    assert metrics['coco/bbox_mAP_50'] == pytest.approx((1 + 51 / 101) / 2, abs=1e-6)
    assert metrics['coco/bbox_mAP_75'] == pytest.approx(0.5, abs=1e-6)
    assert metrics['coco/bbox_AP/chat'] == pytest.approx(1, abs=1e-6)
    assert metrics['coco/bbox_AP/dog'] == pytest.approx(51 / 101 / 10, abs=1e-6)
    assert metrics['coco/bbox_AR@100'] == pytest.approx((1 + 0.5 / 10) / 2, abs=1e-6)
    assert metrics['coco/bbox_mAP_s'] == -1  # no small object in the ground truth


def test_no_detection_at_all(tmp_path):
    ann_file = write_ground_truth(tmp_path / 'val.json', [annotation(0, 'dog', (10, 10, 60, 60))], 2)
    metrics = run(ann_file, [sample(0, [], [], []), sample(1, [], [], [])])
    for key in ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_m', 'bbox_AR@1', 'bbox_AR@100', 'bbox_AP/dog'):
        assert metrics[f'coco/{key}'] == 0
    assert math.isnan(metrics['coco/bbox_AP/chat'])


def test_crowd_boxes_neither_help_nor_hurt(tmp_path):
    real = annotation(0, 'dog', (10, 10, 100, 100))
    crowd = annotation(0, 'dog', (200, 200, 200, 200), iscrowd=1)
    inside_crowd = [[210, 210, 40, 40], [300, 300, 40, 40]]
    found = sample(0, [[10, 10, 100, 100], *inside_crowd], [0.5, 0.9, 0.8], [1, 1, 1])
    with_crowd = run(write_ground_truth(tmp_path / 'a.json', [real, crowd], 1), [found])
    without = run(write_ground_truth(tmp_path / 'b.json', [real], 1), [found])
    assert with_crowd['coco/bbox_mAP'] == pytest.approx(1)
    assert without['coco/bbox_mAP'] == pytest.approx(1 / 3)


def test_only_100_detections_of_a_class_count(tmp_path):
    box = (10, 10, 100, 100)
    ann_file = write_ground_truth(tmp_path / 'val.json', [annotation(0, 'dog', box)], 1)
    far = [[400, 300, 20, 20]]
    for rank, expected in ((99, 1.0), (100, 0.0)):
        data = sample(0, far * rank + [box], [0.9] * rank + [0.1], [1] * (rank + 1))
        assert run(ann_file, [data])['coco/bbox_AR@100'] == pytest.approx(expected)


def test_tables_and_result_file(tmp_path):
    log_file = tmp_path / 'log.txt'
    MMLogger.get_instance('test_coco_metric', log_file=str(log_file), log_level='INFO')
    annotations = [annotation(0, 'größe', (10, 10, 100, 100)), annotation(0, 'größe', (9, 9, 50, 50), iscrowd=1)]
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, 2)
    samples = [sample(0, [[10, 10, 100, 100]], [0.75], [2]), sample(1, [], [], [])]
    run(ann_file, samples, outfile_prefix=str(tmp_path / 'new' / 'out'))

    log = log_file.read_text(encoding='utf-8')
    assert log.count('Average Precision') == 6
    assert log.count('Average Recall') == 6
    rows = [line.split() for line in log.splitlines()]
    assert ['größe', '1', '1.000', '1.000', '1.000'] in rows
    assert ['dog', '0', 'nan', 'nan', 'nan'] in rows
    result = json.loads((tmp_path / 'new' / 'out.bbox.json').read_text())
    assert result == [{'image_id': 100, 'bbox': [10.0, 10.0, 100.0, 100.0], 'score': 0.75, 'category_id': 9}]


def brute_force_best_f1(annotations, samples):
    """Mean F1 of the classes by score: boxes matched in the order of the scores, as COCO says, in plain loops."""

    def iou(a, b, crowd):
        x = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
        y = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
        return x * y / (a[2] * a[3] + (0 if crowd else b[2] * b[3] - x * y))

    counted = []  # score, found, class
    for label, name in enumerate(CLASSES):
        for data in samples:
            found = data['pred_instances']
            objects = [
                a for a in annotations
                if a['image_id'] == data['img_id'] and a['category_id'] == CATEGORY_IDS[name]
            ]  # fmt: skip
            taken = set()
            own = [i for i in range(len(found['labels'])) if found['labels'][i] == label]
            own.sort(key=lambda i: -found['scores'][i].item())
            for i in own[:100]:
                x1, y1, x2, y2 = found['bboxes'][i].double().tolist()
                box, best = (x1, y1, x2 - x1, y2 - y1), None
                for crowd in (0, 1):
                    overlaps = {
                        k: iou(box, a['bbox'], crowd) for k, a in enumerate(objects)
                        if a['iscrowd'] == crowd and k not in taken
                    }  # fmt: skip
                    if best is None and overlaps and max(overlaps.values()) >= 0.5:
                        best = max(overlaps, key=overlaps.get)
                if best is None or not objects[best]['iscrowd']:
                    counted.append((found['scores'][i].item(), best is not None, label))
                    taken.add(best)
    numbers = [sum(a['category_id'] == CATEGORY_IDS[n] and not a['iscrowd'] for a in annotations) for n in CLASSES]

    def mean_f1(score):
        values = []
        for label, number in enumerate(numbers):
            shown = [found for s, found, kind in counted if kind == label and s >= score]
            values += [2 * sum(shown) / (len(shown) + number)] if number else []
        return sum(values) / len(values)

    return mean_f1, {score: mean_f1(score) for score, _, _ in counted}


@pytest.mark.parametrize('seed', range(4))
def test_best_f1_score_against_brute_force(tmp_path, seed):
    annotations, samples = random_case(np.random.default_rng(seed))
    metric = CocoMetric(ann_file=write_ground_truth(tmp_path / 'val.json', annotations, len(samples)))
    metric.dataset_meta = {'classes': CLASSES}
    assert metric.best_f1_score is None
    for data in samples:
        metric.process({}, [data])
    metric.evaluate(size=len(samples))
    mean_f1, every = brute_force_best_f1(annotations, samples)
    best = max(every.values())
    assert mean_f1(metric.best_f1_score) == pytest.approx(best)
    # The case says something: the lowest and the highest score are worse.
    assert mean_f1(0) < best - 0.02 and mean_f1(max(every)) < best - 0.02


def test_without_detections_there_is_no_best_score(tmp_path):
    metric = CocoMetric(ann_file=write_ground_truth(tmp_path / 'v.json', [annotation(0, 'dog', (1, 1, 60, 60))], 1))
    metric.dataset_meta = {'classes': CLASSES}
    metric.best_f1_score = 0.3  # of an earlier evaluation
    metric.process({}, [sample(0, [], [], [])])
    metric.evaluate(size=1)
    assert metric.best_f1_score is None


def test_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r'no/such/val\.json'):
        CocoMetric(ann_file='no/such/val.json')


def test_missing_class_is_named(tmp_path):
    metric = CocoMetric(ann_file=write_ground_truth(tmp_path / 'val.json', [annotation(0, 'dog', (1, 1, 9, 9))], 1))
    metric.dataset_meta = {'classes': ('dog', 'unicorn')}
    metric.process({}, [sample(0, [], [], [])])
    with pytest.raises(ValueError, match=r"no category named 'unicorn'; it has .*'dog'"):
        metric.evaluate(size=1)


def test_foreign_image_is_named(tmp_path):
    ann_file = write_ground_truth(tmp_path / 'val.json', [annotation(0, 'dog', (1, 1, 9, 9))], 1)
    with pytest.raises(ValueError, match='107'):
        run(ann_file, [sample(7, [], [], [])])
