"""Both sides of the evaluation benchmark compute the same numbers."""

import contextlib
import io
import json

import numpy as np
import pytest

from mmcnn.benchmarks import evaluate
from mmcnn.benchmarks.coco_data import coco_dict, detections
from mmcnn.benchmarks.options import EvaluateOptions


def test_all_sides_compute_the_same(tmp_path):
    pytest.importorskip('pycocotools')
    coco = coco_dict(12, 90)
    found = detections(coco, 40)
    (file := tmp_path / 'val.json').write_text(json.dumps(coco))
    numbers, seconds = evaluate.our_seconds(str(file), coco, found)
    rows = evaluate.result_rows(coco, found)
    engine, _ = evaluate.engine_seconds(str(file), rows)
    with contextlib.redirect_stdout(io.StringIO()):
        peer, _ = evaluate.peer_seconds(str(file), evaluate.result_dicts(rows))
    np.testing.assert_allclose(engine, peer, atol=1e-12)
    values = peer[:, :, :, 0, -1]
    assert numbers['bbox_mAP'] == pytest.approx(values[values > -1].mean(), abs=1e-12)
    assert 0.01 < numbers['bbox_mAP'] < 0.9  # the detections are of medium quality
    assert seconds > 0


def test_without_pycocotools_it_is_said(monkeypatch):
    monkeypatch.setattr(evaluate.importlib.util, 'find_spec', lambda name: None)
    said = []
    numbers, reading = evaluate.measure(EvaluateOptions(runs=1, images=8, detections=20), said.append)
    assert said == ['pycocotools: not measured, since it is not installed (pip install pycocotools)']
    assert set(numbers.figures) == {'mmcnn', 'hotcoco alone'} and set(reading.figures) == {'mmcnn'}
    assert numbers.best_peer is None


def test_drawn_annotations_are_of_the_asked_size_and_the_same_again():
    coco = coco_dict(30, 200, seed=3)
    assert (len(coco['images']), len(coco['annotations']), len(coco['categories'])) == (30, 200, 80)
    assert coco == coco_dict(30, 200, seed=3) != coco_dict(30, 200, seed=4)
    for each in coco['annotations']:
        x, y, w, h = each['bbox']
        assert min(x, y) >= 0 and x + w <= 640.01 and y + h <= 480.01
    assert {len(each['bboxes']) for each in detections(coco, 25)} == {25}
