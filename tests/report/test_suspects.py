"""Planted faults in annotations are found, and correct annotations are not suspected."""

import numpy as np
import pytest

from mmcnn.report.suspects import EMPTY, MISSING, OTHER_CLASS


@pytest.fixture
def world(coco_of):
    """Forty objects of two classes in ten images, and a detector that finds them all with some noise."""
    rng = np.random.default_rng(0)
    places = [(20, 20), (120, 20), (20, 120), (120, 120)]
    boxes = [(image, 1 + (image + i) % 2, x, y, 50, 40) for image in range(1, 11) for i, (x, y) in enumerate(places)]
    detections = [
        (image, *(np.array(box) + rng.normal(0, 2, 4)), 0.6 + 0.35 * rng.random(), kind) for image, kind, *box in boxes
    ]
    return boxes, detections, lambda boxes: coco_of(boxes, images=10)


def test_sound_annotations_are_not_suspected(world, analysed):
    boxes, detections, coco = world
    assert analysed(coco(boxes), detections).suspects == []


def test_planted_faults_are_found(world, analysed):
    boxes, detections, coco = world
    kept = boxes[1:]  # the first object's box is removed
    image, kind, *box = kept[10]
    kept[10] = (image, 3 - kind, *box)
    kept.append((5, 1, 80, 80, 30, 30))  # a box around nothing
    suspects = analysed(coco(kept), detections).suspects
    assert {each.kind for each in suspects} == {MISSING, OTHER_CLASS, EMPTY} and len(suspects) == 3
    found = {each.kind: each for each in suspects}
    missing, other, empty = (found[kind] for kind in (MISSING, OTHER_CLASS, EMPTY))
    assert (missing.image_id, missing.annotation_id, missing.proposed) == (1, None, boxes[0][1])
    assert missing.box == pytest.approx(detections[0][1:5])
    assert (other.annotation_id, other.category_id, other.proposed) == (20, 3 - kind, kind)
    assert (empty.annotation_id, empty.image_id, empty.box) == (49, 5, (80, 80, 30, 30))
    assert 'nothing is detected on this class 1' in empty.reason


def test_other_detections_support_a_missing_box(world, analysed):
    boxes, detections, coco = world
    weak = [(*detections[0][:5], 0.62, detections[0][6]), *detections[1:]]
    alone = analysed(coco(boxes[1:]), weak).suspects
    moved = (1, detections[0][1] + 18, *detections[0][2:5], 0.6, 1)
    supported = analysed(coco(boxes[1:]), [*weak, moved]).suspects
    assert [each.kind for each in supported] == [MISSING]
    assert supported[0].doubt > (alone[0].doubt if alone else 0) and '1 more detection there' in supported[0].reason


def test_a_detection_that_is_placed_wrongly_is_no_missing_box(world, analysed):
    boxes, detections, coco = world
    moved = [(*each[:1], each[1] + 22, *each[2:]) for each in detections[:3]]
    assert not [each for each in analysed(coco(boxes), [*moved, *detections[3:]]).suspects if each.kind == MISSING]
