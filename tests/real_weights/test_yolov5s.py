"""A genuine YOLOv5s file, given unchanged to every command."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmcnn
from mmcnn.runs.infer import infer
from mmcnn.runs.options import InferOptions

pytestmark = pytest.mark.real_weights

#: Boxes with scores of at least 0.05 from the original program's decoding and NMS (score 0.001, IoU 0.65).
REFERENCE = json.loads((Path(__file__).parents[1] / 'data' / 'yolov5s_photographs.json').read_text())['images']


@pytest.fixture(scope='module')
def detector(yolov5s):
    return mmcnn.Detector(yolov5s, device='cpu', score_thr=0.05)


@pytest.fixture(scope='module')
def images(photographs, tmp_path_factory):
    """A folder of the photographs that the reference is about."""
    folder = tmp_path_factory.mktemp('photographs')
    for name in REFERENCE:
        shutil.copy(photographs / name, folder)
    return folder


def expected(name, score):
    found = [each for each in REFERENCE[name]['detections'] if each['score'] >= score]
    return [each['name'] for each in found], [each['score'] for each in found], [each['bbox'] for each in found]


@pytest.mark.parametrize('name', REFERENCE)
def test_boxes_are_those_of_the_original_program(detector, images, name):
    found = detector(images / name)
    names, scores, boxes = expected(name, 0.05)
    assert found.names == names and len(names) > 0
    np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.boxes, boxes, rtol=0, atol=0.01)


def test_the_file_says_its_classes(detector):
    assert detector.classes[:3] == ('person', 'bicycle', 'car') and len(detector.classes) == 80
    assert detector.num_parameters == 7_235_389  # the published number


def test_infer_takes_it_as_it_is(yolov5s, images, tmp_path):
    said = []
    infer(InferOptions(checkpoint=yolov5s, sources=str(images), out=tmp_path / 'out', device='cpu'), said.append)
    written = json.loads((tmp_path / 'out' / 'detections.json').read_text())
    assert written.keys() == REFERENCE.keys()
    for name, found in written.items():
        names, scores, boxes = expected(name, 0.25)
        assert [each['name'] for each in found] == names
        np.testing.assert_allclose([each['score'] for each in found], scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(
            np.reshape([e['bbox'] for e in found], (-1, 4)), np.reshape(boxes, (-1, 4)), atol=0.02
        )
    assert any('YOLOv5s (v6.0 to v7.0), which yolov5_s holds' in line for line in said)


@pytest.fixture(scope='module')
def labelled(detector, images, tmp_path_factory):
    """A data set of the photographs, annotated with the original program's boxes of high score."""
    root = tmp_path_factory.mktemp('labelled')
    shutil.copytree(images, root / 'images')
    coco = dict(images=[], annotations=[], categories=[])
    coco['categories'] = [dict(id=i, name=name) for i, name in enumerate(detector.classes, start=1)]
    for number, name in enumerate(REFERENCE, start=1):
        height, width = cv2.imread(str(images / name)).shape[:2]
        coco['images'].append(dict(id=number, file_name=name, width=width, height=height))
        names, _, boxes = expected(name, 0.25)
        for label, (x1, y1, x2, y2) in zip(names, boxes, strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = dict(image_id=number, category_id=detector.classes.index(label) + 1, bbox=box, area=box[2] * box[3])
            coco['annotations'].append(dict(entry, id=len(coco['annotations']) + 1, iscrowd=0))
    for split in ('train', 'val'):
        (root / f'{split}.json').write_text(json.dumps(coco))
    return root


def test_evaluation_takes_it_as_it_is(yolov5s, labelled, tmp_path):
    """The annotated boxes have the highest scores, so every annotated class has full precision."""
    result = mmcnn.evaluate(yolov5s, data=labelled, device='cpu', workers=0, batch_size=1, work_dir=tmp_path / 'test')
    assert result.metrics['AP'] == pytest.approx(1.0, abs=1e-3)


def test_fine_tuning_takes_it_as_it_is(yolov5s, shapes, tmp_path):
    result = mmcnn.train(
        'yolov5_s', data=shapes, weights=yolov5s, epochs=1, img_size=64, batch_size=4,
        workers=0, device='cpu', work_dir=tmp_path / 'run',
    )  # fmt: skip
    tuned = mmcnn.Detector(result.last, device='cpu')
    assert tuned.classes == ('circle', 'square', 'triangle')
    log = '\n'.join(path.read_text() for path in result.work_dir.glob('*/*.log'))
    assert '285 entries loaded' in log and 'the head, because its classes differ' in log
