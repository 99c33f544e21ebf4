"""The same images side by side: how they are chosen and what is counted."""

import base64
import dataclasses
import re

import cv2
import numpy as np
import pytest

from mmcnn.compare.page.images import images_section
from mmcnn.compare.page.numbers import Numbers

BOXES = ([10.0, 10.0, 20.0, 20.0], [50.0, 10.0, 20.0, 20.0])


@pytest.fixture
def case(small, tmp_path):
    """Two candidates that find different numbers of objects in three images with two objects each."""
    comparison = small(2, seeds=2)
    images = [dict(id=i, file_name=f'{i}.png', width=100, height=60) for i in (1, 2, 3)]
    objects = [
        dict(id=2 * i + j, image_id=i, category_id=7, bbox=box, area=400, iscrowd=0)
        for i in (1, 2, 3)
        for j, box in enumerate(BOXES)
    ]
    annotations = dict(images=images, annotations=objects, categories=[dict(id=7, name='<b>')])
    for each in images:
        cv2.imwrite(str(tmp_path / each['file_name']), np.full((60, 100, 3), 255, np.uint8))
    # (image, box, score); the second candidate misses one object of image 3 and both of image 2
    found = [(i, box, 0.9) for i in (1, 2, 3) for box in BOXES]
    keep(tmp_path, comparison.candidates[0], [*found, (1, [0.0, 0.0, 5.0, 5.0], 0.29)])
    keep(tmp_path, comparison.candidates[1], [*found[:2], found[4], (2, [70.0, 40.0, 20.0, 10.0], 0.5)])
    return comparison, annotations, tmp_path


def keep(folder, candidate, rows):
    for run in candidate.runs:
        path = folder / run.detections
        path.parent.mkdir(parents=True, exist_ok=True)
        image_ids, boxes, scores = zip(*rows, strict=True)
        np.savez_compressed(
            path, image_ids=np.array(image_ids), boxes=np.array(boxes, np.float32), scores=np.array(scores, np.float32),
            category_ids=np.full(len(rows), 7),
        )  # fmt: skip


def test_images_in_which_candidates_differ_most_come_first(case):
    comparison, annotations, folder = case
    body = str(images_section(Numbers(comparison), folder, annotations, folder, 2, 0.3).body)
    assert re.findall(r'<h3>([^<]+)</h3>', body) == ['2.png', '3.png']
    texts = re.findall(r'<strong>([^<]+)</strong> ([^<]+)</figcaption>', body)
    assert texts == [
        ('Ground truth', '2 objects'), ('vovnet39', '2 of 2 found, 0 wrong'), ('mobilenetv2', '0 of 2 found, 1 wrong'),
        ('Ground truth', '2 objects'), ('vovnet39', '2 of 2 found, 0 wrong'), ('mobilenetv2', '1 of 2 found, 0 wrong'),
    ]  # fmt: skip
    assert 'they show differences, not typical results' in body
    assert 'a score of at least 0.3, of one run of each candidate (seed 0)' in re.sub(r'\s+', ' ', body)
    assert '<b>' not in body


def test_boxes_are_drawn_from_the_threshold_on(case):
    comparison, annotations, folder = case
    body = str(images_section(Numbers(comparison), folder, annotations, folder, 3, 0.3).body)
    images = [
        cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_COLOR)
        for each in re.findall(r'base64,([^"]+)"', body)
    ]
    assert len(images) == 9
    assert all((image[11, 12:28] < 200).any() for image in (images[0], images[1]))  # an edge of the first box
    assert not (images[2][8:35, 5:75] < 200).any()  # image 2 of the second candidate: only its wrong box
    assert (images[2][38:52, 65:95] < 200).any()
    assert not (images[7][:8, :8] < 200).any()  # the box of 0.29 is not drawn


def test_without_detections_it_says_so(case):
    comparison, annotations, folder = case
    candidates = [
        dataclasses.replace(each, runs=[dataclasses.replace(run, detections=None) for run in each.runs])
        for each in comparison.candidates
    ]
    numbers = Numbers(dataclasses.replace(comparison, candidates=candidates))
    assert 'No detections were kept' in images_section(numbers, folder, annotations, folder, 2, 0.3).body
