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

from mmcnn.errors import UsageError
from mmcnn.evaluation import CocoMetric

CLASSES = ('chat', 'dog', 'größe', 'never annotated')
# Neither the ids nor the order in the file follow the order of the classes.
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
    # The area of a COCO object is its mask's and not its box's.
    return {
        'image_id': 100 + image,
        'category_id': CATEGORY_IDS[name],
        'bbox': [x, y, w, h],
        'area': 0.7 * w * h,
        'iscrowd': iscrowd,
    }


def sample(image, boxes, scores, labels):
    """A data sample as detectors output it, from boxes (x, y, w, h)."""
    boxes = torch.tensor(np.asarray(boxes), dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances = {
        'bboxes': boxes,
        'scores': torch.tensor(np.asarray(scores), dtype=torch.float32),
        'labels': torch.tensor(np.asarray(labels), dtype=torch.int64),
    }
    return {'img_id': 100 + image, 'ori_shape': (480, 640), 'pred_instances': instances}


def random_case(rng, num_images=30, crowds=True):
    """Objects of all sizes, crowds, images without objects or detections, equal scores, more than 100 detections."""
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
    """The 12 numbers and the AP of each class from pycocotools, which reads the file itself."""
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
    # The case is not trivial: the AP is neither 0 nor 1, and every limit on the number of detections matters.
    assert 0.1 < stats[0] < 0.9
    assert stats[6] < stats[7] < stats[8]
    for name in CLASSES[:3]:
        assert metrics[f'coco/bbox_AP/{name}'] == pytest.approx(per_class[name], abs=1e-6)
    assert per_class['never annotated'] == -1
    assert math.isnan(metrics['coco/bbox_AP/never annotated'])
    assert metrics['coco/bbox_mAP'] == pytest.approx(np.mean([per_class[name] for name in CLASSES[:3]]), abs=1e-6)


def test_hand_worked_numbers(tmp_path):
    """One object is found exactly, one with IoU 70 / 130 = 0.54, and one is missed."""
    annotations = [
        annotation(0, 'chat', (10, 10, 100, 100)),
        annotation(0, 'dog', (200, 200, 100, 100)),
        annotation(1, 'dog', (10, 10, 100, 100)),
    ]
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, 2)
    samples = [sample(0, [[10, 10, 100, 100]], [0.9], [0]), sample(1, [[40, 10, 100, 100]], [0.8], [1])]
    metrics = run(ann_file, samples)
    # A dog is matched only at the IoU threshold 0.5: recall is 1/2, so precision is 1 at 51 of the 101 recall points.
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
    """Mean F1 of the classes by score, with boxes matched in the order of the scores, as in COCO, in plain loops."""

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
    # The case is not trivial: the lowest and the highest score are worse.
    assert mean_f1(0) < best - 0.02 and mean_f1(max(every)) < best - 0.02


def test_without_detections_there_is_no_best_score(tmp_path):
    metric = CocoMetric(ann_file=write_ground_truth(tmp_path / 'v.json', [annotation(0, 'dog', (1, 1, 60, 60))], 1))
    metric.dataset_meta = {'classes': CLASSES}
    metric.best_f1_score = 0.3  # from an earlier evaluation
    metric.process({}, [sample(0, [], [], [])])
    metric.evaluate(size=1)
    assert metric.best_f1_score is None


# -------------------------------------------------------------------------------------------------- MMDetection's keys


def one_object(tmp_path, count=1, **kwargs):
    """``count`` dogs in one place, each found exactly by a detection, and a cat that is missed."""
    annotations = [annotation(0, 'dog', (10, 10, 60, 60))] * count + [annotation(0, 'chat', (200, 200, 40, 40))]
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, 1)
    return run(ann_file, [sample(0, [[10, 10, 60, 60]] * count, [0.9] * count, [1] * count)], **kwargs)


def test_keys_that_change_nothing(tmp_path):
    plain = one_object(tmp_path)
    everyday = one_object(
        tmp_path, metric=['bbox'], classwise=True, sort_categories=True, use_mp_eval=True,
        backend_args=dict(backend='local'), proposal_nums=(1, 10, 100),
    )  # fmt: skip
    assert list(everyday) == list(plain)
    np.testing.assert_equal(list(everyday.values()), list(plain.values()))
    assert plain['coco/bbox_mAP'] == pytest.approx(0.5)


def test_classwise_false_leaves_the_classes_out(tmp_path):
    assert list(one_object(tmp_path, classwise=False)) == [f'coco/{key}' for key in SUMMARY]


def test_limits_of_ones_own(tmp_path):
    many = one_object(tmp_path, 120, proposal_nums=(1, 10, 100))
    assert many['coco/bbox_AP/dog'] == pytest.approx(84 / 101)  # 100 of 120 are found: recall 0.833 at precision 1
    more = one_object(tmp_path, 120, proposal_nums=(300, 1))
    assert more['coco/bbox_AP/dog'] == pytest.approx(1)
    assert more['coco/bbox_AR@300'] == pytest.approx(0.5)
    assert more['coco/bbox_AR@1'] == pytest.approx(0.5 / 120)
    assert more['coco/bbox_AR_m@300'] == pytest.approx(0.5)
    # As in MMDetection, AP is COCO's if 100 is one of the limits.
    mmdets = one_object(tmp_path, 120, proposal_nums=(100, 300, 1000))
    assert mmdets['coco/bbox_mAP'] == many['coco/bbox_mAP'] == pytest.approx(84 / 202)
    assert [key for key in mmdets if 'AR' in key] == [
        f'coco/bbox_{key}' for key in ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
    ]
    assert (mmdets['coco/bbox_AR@100'], mmdets['coco/bbox_AR@300']) == (pytest.approx(5 / 12), pytest.approx(0.5))


def test_iou_thresholds_of_ones_own(tmp_path):
    annotations = [annotation(0, 'dog', (10, 10, 100, 100))]
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, 1)
    samples = [sample(0, [[10, 10, 100, 72]], [0.9], [1])]  # IoU 0.72
    for thresholds, expected in ((0.5, (1, 1, -1)), ([0.75, 0.7], (0.5, -1, 0)), (None, (0.5, 1, 0))):
        metrics = run(ann_file, samples, iou_thrs=thresholds)
        found = [metrics[f'coco/bbox_{key}'] for key in ('mAP', 'mAP_50', 'mAP_75')]
        assert found == pytest.approx(expected)
        assert metrics['coco/bbox_AP/dog'] == pytest.approx(expected[0])


def test_items_and_nothing_but_the_file(tmp_path):
    items = one_object(tmp_path, metric_items=['mAP_50', 'bbox_AR@1'], classwise=False)
    assert items == pytest.approx({'coco/bbox_mAP_50': 0.5, 'coco/bbox_AR@1': 0.5})
    assert one_object(tmp_path, format_only=True, outfile_prefix=str(tmp_path / 'out')) == {}
    assert [each['category_id'] for each in json.loads((tmp_path / 'out.bbox.json').read_text())] == [3]
    # The annotations of a test server's split are not public.
    coco = json.loads((tmp_path / 'val.json').read_text())
    del coco['annotations']
    (tmp_path / 'val.json').write_text(json.dumps(coco))
    prefix = str(tmp_path / 'more')
    assert run(str(tmp_path / 'val.json'), [sample(0, [[1, 1, 9, 9]], [0.5], [0])], format_only=True,
               outfile_prefix=prefix) == {}  # fmt: skip
    assert len(json.loads((tmp_path / 'more.bbox.json').read_text())) == 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(metric='segm'), "metric='segm': only boxes can be evaluated, with metric='bbox'"),
        (dict(metric=['bbox', 'segm']), r"metric=\['bbox', 'segm'\]: only boxes"),
        (dict(format_only=True), 'format_only=True needs outfile_prefix'),
        (dict(proposal_nums=(0, 10)), r'proposal_nums=\[0, 10\]: the values must be numbers of detections'),
        (dict(iou_thrs=[0.5, 75]), r'iou_thrs=\[0.5, 75\]: thresholds must be above 0 and at most 1'),
        (dict(metric_items=['AR@300']), r"metric_items has 'AR@300'; did you mean bbox_AR@1"),
    ],
)
def test_what_cannot_be_honoured_is_one_sentence(tmp_path, arguments, message):
    ann_file = write_ground_truth(tmp_path / 'val.json', [], 1)
    with pytest.raises(UsageError, match=message):
        CocoMetric(ann_file, **arguments)


def test_some_of_the_classes(tmp_path):
    one = one_object(tmp_path, classes=['dog'])
    assert [key for key in one if '/bbox_AP/' in key] == ['coco/bbox_AP/dog']
    assert one['coco/bbox_mAP'] == one['coco/bbox_AP/dog'] == pytest.approx(1)
    assert one_object(tmp_path, classes=['chat'])['coco/bbox_mAP'] == 0
    with pytest.raises(UsageError, match=r"classes=\('dgo',\): did you mean dog"):
        one_object(tmp_path, classes=['dgo'])


def test_a_class_that_is_not_evaluated_need_not_be_in_the_file(tmp_path):
    ann_file = write_ground_truth(tmp_path / 'val.json', [annotation(0, 'dog', (10, 10, 60, 60))], 1)
    metric = CocoMetric(ann_file, classes=['dog'], outfile_prefix=str(tmp_path / 'out'))
    metric.dataset_meta = {'classes': ('unicorn', 'dog')}
    metric.process({}, [sample(0, [[1, 1, 9, 9], [10, 10, 60, 60]], [0.9, 0.5], [0, 1])])
    assert metric.evaluate(size=1)['coco/bbox_mAP'] == pytest.approx(1)
    assert [each['category_id'] for each in json.loads((tmp_path / 'out.bbox.json').read_text())] == [3]


# ------------------------------------------------------------------------------------------- what cannot be measured


def logged(log_file, name, level):
    MMLogger.get_instance(name, log_file=str(log_file), log_level='INFO')
    return lambda: [
        line for line in log_file.read_text(encoding='utf-8').splitlines() if f'{level} - CocoMetric:' in line
    ]


def test_nothing_to_measure(tmp_path):
    said = logged(tmp_path / 'log.txt', 'nothing to measure', 'INFO')
    crowd = annotation(0, 'dog', (10, 10, 60, 60), iscrowd=1)
    for i, annotations in enumerate(([], [crowd], [annotation(0, 'not ours', (10, 10, 60, 60))])):
        ann_file = write_ground_truth(tmp_path / f'{i}.json', annotations, 1)
        metrics = run(ann_file, [sample(0, [[10, 10, 60, 60]], [0.9], [1])])
        assert list(metrics) == [f'coco/{key}' for key in SUMMARY] + [f'coco/bbox_AP/{name}' for name in CLASSES]
        assert all(map(math.isnan, metrics.values()))
    assert len(said()) == 3
    assert said()[0].endswith('0.json has no objects of the evaluated classes: there is nothing to measure')


def test_more_objects_than_ap_counts_are_said_once(tmp_path):
    warned = logged(tmp_path / 'log.txt', 'more objects', 'WARNING')
    annotations = [annotation(i, 'dog', (10, 10, 60, 60)) for i in (0, 1) for _ in range(101)]
    ann_file = write_ground_truth(tmp_path / 'val.json', annotations, 2)
    metric = CocoMetric(ann_file)
    metric.dataset_meta = {'classes': CLASSES}
    for _ in range(2):
        for image in range(2):
            metric.process({}, [sample(image, [], [], [])])
        metric.evaluate(size=2)
    (line,) = warned()
    assert line.endswith(
        'images with more than 100 objects of a class: 2, classes: 1; AP counts 100 detections of a class in an '
        'image and stays below 1 there. val_evaluator.proposal_nums=(1,10,101) counts more, unlike COCO'
    )
    one_object(tmp_path, 101, proposal_nums=(1, 10, 101))
    assert len(warned()) == 1


def test_names_of_all_sorts(tmp_path):
    log_file = tmp_path / 'log.txt'
    MMLogger.get_instance('names', log_file=str(log_file), log_level='INFO')
    names = ['-', 'a/b, c', '{x}', '100 %', 'line\nbreak', '安全帽', 'x' * 120, ' lead', 'line break']
    coco = dict(
        images=[dict(id=100, width=640, height=480, file_name='a')],
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
        annotations=[dict(id=1, image_id=100, category_id=0, bbox=[1, 1, 9, 9], area=81, iscrowd=0)],
    )
    (tmp_path / 'val.json').write_text(json.dumps(coco))
    metric = CocoMetric(str(tmp_path / 'val.json'))
    metric.dataset_meta = {'classes': names}
    metric.process({}, [sample(0, [], [], [])])
    keys = [key.removeprefix('coco/bbox_AP/') for key in metric.evaluate(size=1) if '/bbox_AP/' in key]
    assert keys == ['-', 'a/b, c', '{x}', '100 %', "'line\\nbreak'", '安全帽', 'x' * 120, 'lead', "'line break'"]
    rows = log_file.read_text(encoding='utf-8').splitlines()
    first = next(i for i, row in enumerate(rows) if row.startswith('class '))
    table = rows[first : first + 1 + len(names)]
    assert all(len(row) <= 40 + 4 * 9 for row in table)
    assert table[6].startswith('安全帽    ') and table[7].startswith('x' * 39 + '…  ')


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


def test_images_of_a_batch_are_taken_as_one_by_one(tmp_path):
    ann_file = write_ground_truth(tmp_path / 'a.json', [annotation(0, 'dog', (10, 10, 50, 50))], 3)
    boxes = [[[10, 10, 60, 60], [1, 1, 9, 9]], [], [[5, 5, 20, 20]]]
    samples = [sample(i, each, [0.9, 0.5][: len(each)], [1, 0][: len(each)]) for i, each in enumerate(boxes)]
    together, apart = (METRICS.build(dict(type='mmcnn.CocoMetric', ann_file=ann_file)) for _ in range(2))
    together.process({}, samples)
    for each in samples:
        apart.process({}, [each])
    assert len(together.results) == 3
    for (_, one), (_, other) in zip(together.results, apart.results, strict=True):
        assert one['img_id'] == other['img_id']
        for key in ('bboxes', 'scores', 'labels'):
            np.testing.assert_array_equal(one[key], other[key])
    assert [len(found['scores']) for _, found in together.results] == [2, 0, 1]


def test_labels_stay_whole_numbers_beside_an_image_without_any(tmp_path):
    """MMDetection's SOLO outputs float32 labels for an image in which it finds nothing."""
    ann_file = write_ground_truth(tmp_path / 'a.json', [annotation(0, 'dog', (10, 10, 50, 50))], 2)
    samples = [sample(0, [[10, 10, 60, 60]], [0.9], [1]), sample(1, [], [], [])]
    samples[1]['pred_instances']['labels'] = torch.ones(0)
    metric = METRICS.build(dict(type='mmcnn.CocoMetric', ann_file=ann_file))
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, samples)
    assert [found['labels'].dtype for _, found in metric.results] == [np.int64] * 2
    assert metric.evaluate(size=2).keys()
