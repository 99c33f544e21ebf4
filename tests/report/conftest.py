"""COCO dicts and their analyses for the tests of reports."""

import json

import numpy as np
import pytest

from mmcnn.report.analysis import Analysis
from mmcnn.report.run_data import History, RunData


def make_coco(boxes, images=2, classes=2, crowd=()):
    """Make a COCO dict from (image, class, x, y, w, h); ids of annotations start at 10."""
    return dict(
        images=[dict(id=i, width=200, height=200, file_name=f'{i}.jpg') for i in range(1, images + 1)],
        categories=[dict(id=i, name=f'class {i}') for i in range(1, classes + 1)],
        annotations=[
            dict(id=i + 10, image_id=image, category_id=kind, bbox=list(box), area=box[2] * box[3],
                 iscrowd=int(i in crowd))
            for i, (image, kind, *box) in enumerate(boxes)
        ],
    )  # fmt: skip


@pytest.fixture(scope='session')
def coco_of():
    return make_coco


@pytest.fixture
def analysed(tmp_path):
    """``analysed(coco, detections, score)``: their analysis, with black images in tmp_path."""

    def analyse(coco, detections, score=None, **facts):
        (file := tmp_path / 'val.json').write_text(json.dumps(coco))
        history = History({1: dict(loss=5.0)}, {1: 0.1}, {1: {'coco/bbox_mAP': 0.2}}, [5.0])
        data = RunData(
            tmp_path, tmp_path / 'best.pth', tuple(each['name'] for each in coco['categories']), file, coco, tmp_path,
            np.array(detections, float).reshape(-1, 7), 'of best.pth', history,
            **dict(img_size=100, anchor_recall=None, anchors_command='', train_boxes={}) | facts,
        )  # fmt: skip
        return Analysis(data, score)

    return analyse
