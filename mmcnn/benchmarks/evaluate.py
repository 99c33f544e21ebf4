"""CPU seconds from detections to COCO's metrics and the AP of each class, compared with pycocotools."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np

from mmcnn.benchmarks.coco_data import coco_dict, detections
from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import EvaluateOptions
from mmcnn.evaluation import CocoMetric
from mmcnn.silence import silenced

#: Boxes per image, as in COCO on average.
_BOXES = 7.3


def measure(options: EvaluateOptions, say: Say) -> list[Comparison]:
    """Measure two tasks: from detections to metrics, and before that reading the annotations."""
    has_peer = importlib.util.find_spec('pycocotools') is not None
    if not has_peer:
        say('pycocotools: not measured, since it is not installed (pip install pycocotools)')
    coco = coco_dict(options.images, round(_BOXES * options.images))
    found = detections(coco, options.detections)
    with tempfile.TemporaryDirectory() as folder, silenced(prints=True):
        file = Path(folder, 'val.json')
        file.write_text(json.dumps(coco))
        numbers = [Side('mmcnn', lambda: our_seconds(str(file), coco, found)[1])]
        reading = [Side('mmcnn', lambda: _seconds(lambda: CocoMetric(str(file)))[0])]
        rows = result_rows(coco, found)
        numbers.append(Side('hotcoco alone', lambda: engine_seconds(str(file), rows)[1]))
        if has_peer:
            dicts = result_dicts(rows)
            numbers.append(Side('pycocotools', lambda: peer_seconds(str(file), dicts)[1], peer=True))
            reading.append(Side('pycocotools', lambda: _seconds(lambda: _peer_file(str(file)))[0], peer=True))
        return [
            compare('detections to numbers', numbers, options.runs),
            compare('annotations', reading, options.runs),
        ]


def our_seconds(file: str, coco: dict, found: list[dict[str, Any]]) -> tuple[dict[str, float], float]:
    """Return metrics, and the CPU seconds of a new metric."""
    metric = CocoMetric(file)
    metric.dataset_meta = dict(classes=[each['name'] for each in coco['categories']])
    seconds, numbers = _seconds(lambda: metric.compute_metrics([({}, each) for each in found]))
    return numbers, seconds


def engine_seconds(file: str, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return precision (IoU threshold, recall, category, area, limit), and the CPU seconds of hotcoco alone."""
    annotations = hotcoco.COCO(file)

    def call() -> np.ndarray:
        evaluation = hotcoco.COCOeval(annotations, annotations.load_res(rows), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval['precision']

    seconds, precision = _seconds(call)
    return precision, seconds


def peer_seconds(file: str, dicts: list[dict[str, Any]]) -> tuple[np.ndarray, float]:
    """Return precision, and the CPU seconds of pycocotools: ``loadRes``, ``evaluate`` and ``accumulate``."""
    from pycocotools.cocoeval import COCOeval

    annotations = _peer_file(file)
    dicts = [dict(each) for each in dicts]  # loadRes modifies them

    def call() -> np.ndarray:
        evaluation = COCOeval(annotations, annotations.loadRes(dicts), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval['precision']

    seconds, precision = _seconds(call)
    return precision, seconds


def result_rows(coco: dict, found: list[dict[str, Any]]) -> np.ndarray:
    """Return detections as (image id, x, y, w, h, score, category id), (N, 7)."""
    cat_ids = np.array([each['id'] for each in coco['categories']])
    rows = []
    for each in found:
        boxes = each['bboxes'].astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        image = np.full(len(boxes), each['img_id'])
        rows.append(np.column_stack([image, boxes, each['scores'], cat_ids[each['labels']]]))
    return np.concatenate(rows)


def result_dicts(rows: np.ndarray) -> list[dict[str, Any]]:
    """Return the same in COCO's result format."""
    return [
        dict(image_id=int(image), bbox=box, score=score, category_id=int(category))
        for image, *box, score, category in rows.tolist()
    ]


def _peer_file(file: str) -> Any:
    from pycocotools.coco import COCO

    return COCO(file)


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result
