import json
import pickle
import subprocess
import sys
import types
import warnings
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmcnn.errors import DataError, UsageError
from mmcnn.inference.detections import Detections
from mmcnn.inference.images import read_image

PACKAGE = Path(__file__).resolve().parents[2] / 'mmcnn'


@pytest.fixture
def found():
    """Four objects in an image of 60 x 40 pixels."""
    return Detections(
        np.array([[1, 2, 21, 12], [5, 5, 10, 25], [0, 0, 60, 40], [30.5, 3, 33, 4.25]], np.float32),
        np.array([0.9, 0.75, 0.5, 0.25], np.float32),
        np.array([2, 0, 2, 1]),
        ['tree', 'car', 'tree', 'dog'],
    )


def test_length_and_fields(found):
    assert len(found) == 4
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert found.path is None
    with pytest.raises(FrozenInstanceError):
        found.scores = None


@pytest.mark.parametrize(
    ('index', 'kept'),
    [
        (np.array([True, False, False, True]), [0, 3]),
        ([False, True, True, False], [1, 2]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        (np.array([3, 0]), [3, 0]),
        ([2, 2], [2, 2]),
        (np.array([], int), []),
        ([], []),
        (np.zeros(4, bool), []),
        (1, [1]),
        (-1, [3]),
        (np.int64(2), [2]),
    ],
    ids=str,
)
def test_indexing_keeps_the_fields_together(found, index, kept):
    chosen = replace(found, path=Path('a.jpg'))[index]
    assert isinstance(chosen, Detections) and len(chosen) == len(kept)
    assert chosen.boxes.shape == (len(kept), 4)
    assert chosen.boxes.tolist() == [found.boxes.tolist()[i] for i in kept]
    assert chosen.scores.tolist() == [found.scores.tolist()[i] for i in kept]
    assert chosen.labels.tolist() == [found.labels.tolist()[i] for i in kept]
    assert chosen.names == [found.names[i] for i in kept]
    assert chosen.path == Path('a.jpg')


def test_indexing_by_score(found):
    assert found[found.scores > 0.6].names == ['tree', 'car']
    for wrong in (4, -5, np.array([True]), 1.0, 'tree'):
        with pytest.raises(IndexError):
            found[wrong]


def test_fields_must_go_together(found):
    with pytest.raises(UsageError, match=r'boxes \(4, 4\), scores \(3,\), labels \(4,\) and 4 names; they must be'):
        replace(found, scores=found.scores[:3])
    with pytest.raises(UsageError, match=r'boxes \(4, 3\)'):
        replace(found, boxes=found.boxes[:, :3])
    nothing = Detections([], [], [], [])
    assert (nothing.boxes.shape, nothing.scores.dtype, nothing.labels.dtype) == ((0, 4), np.float32, np.int64)


def test_unpacking_like_a_tuple_works_for_one_more_release(found):
    with pytest.warns(
        DeprecationWarning, match=r'use found\.boxes, found\.scores, found\.labels and found\.names'
    ) as got:
        boxes, scores, labels, names = found
    assert (boxes is found.boxes, scores is found.scores, labels is found.labels, names is found.names) == (True,) * 4
    assert got[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        len(found), found[0], repr(found), found.as_coco(1), bool(found)


def test_pickling(found):
    again = pickle.loads(pickle.dumps(found))
    assert again.names == found.names
    np.testing.assert_array_equal(again.boxes, found.boxes)


def test_repr(found):
    expected = 'Detections(2 tree (best score 0.90), 1 car (best score 0.75), 1 dog (best score 0.25))'
    assert repr(found) == str(found) == expected
    assert repr(found[:0]) == 'Detections(nothing found)'
    names = [f'c{i}' for i in range(13)]
    many = Detections(np.zeros((13, 4)), np.linspace(0.9, 0.1, 13), np.arange(13), names)
    assert repr(many).endswith('1 c9 (best score 0.30), 3 more classes)')


# -------------------------------------------------------------------------------------------------------------- as_coco


def test_as_coco(found):
    results = found.as_coco(17)
    assert json.loads(json.dumps(results)) == results
    assert results[0] == dict(image_id=17, category_id=3, bbox=[1.0, 2.0, 20.0, 10.0], score=pytest.approx(0.9))
    assert results[3]['bbox'] == [30.5, 3.0, 2.5, 1.25]
    assert [each['category_id'] for each in results] == [3, 1, 3, 2]
    assert [each['category_id'] for each in found.as_coco(1, [7, 8, 90])] == [90, 7, 90, 8]
    assert [each['category_id'] for each in found.as_coco(1, {0: 5, 1: 6, 2: 4})] == [4, 5, 4, 6]
    numpy = found.as_coco(np.int64(3), np.array([7, 8, 90]))
    assert json.loads(json.dumps(numpy))[0]['image_id'] == 3
    assert found[:0].as_coco(1) == []
    with pytest.raises(UsageError, match=r'category_ids \[7\] has no entry for the label 2'):
        found.as_coco(1, [7])


# -------------------------------------------------------------------------------------------------------- supervision


def test_to_supervision(found, monkeypatch):
    module = types.ModuleType('supervision')
    module.Detections = lambda **fields: fields
    monkeypatch.setitem(sys.modules, 'supervision', module)
    fields = found.to_supervision()
    assert list(fields) == ['xyxy', 'confidence', 'class_id', 'data']
    np.testing.assert_array_equal(fields['xyxy'], found.boxes)
    np.testing.assert_array_equal(fields['confidence'], found.scores)
    np.testing.assert_array_equal(fields['class_id'], found.labels)
    assert fields['data']['class_name'].tolist() == found.names
    fields['xyxy'][:] = 0
    assert found.boxes.max() == 60  # it is a copy


def test_supervision_itself(found):
    supervision = pytest.importorskip('supervision')
    converted = found.to_supervision()
    assert isinstance(converted, supervision.Detections)
    assert len(converted[converted.confidence > 0.6]) == 2
    assert converted['class_name'].tolist() == found.names
    assert len(found[:0].to_supervision()) == 0


def test_supervision_is_optional(found, monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(UsageError, match=r'^to_supervision needs another package: pip install supervision$'):
        found.to_supervision()


# ---------------------------------------------------------------------------------------------------------------- plot


def test_plot_draws_on_a_copy(found):
    image = np.full((40, 60, 3), 100, np.uint8)
    drawn = found.plot(image)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert (image == 100).all()
    assert (drawn[0] != 100).any() and (drawn[39, :50] != 100).all()  # the edges of the third box
    assert (found[:0].plot(image) == image).all()
    np.testing.assert_array_equal(found.plot(np.full((40, 60), 100, np.uint8)), drawn)  # it takes grey images, too


def test_plot_names_the_classes(found, monkeypatch):
    seen = []
    monkeypatch.setattr('mmcnn.plots.boxes.draw_boxes', lambda image, *args, **_: seen.append(args) or image)
    found[:2].plot(np.zeros((40, 60, 3), np.uint8))
    boxes, labels, scores, names = seen[0]
    assert [names[label] for label in labels] == ['tree', 'car']
    assert (len(boxes), scores.tolist()) == (2, found.scores[:2].tolist())


def test_plot_reads_the_file_again(found, tmp_path):
    image = np.full((40, 60, 3), 100, np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    drawn = replace(found, path=tmp_path / 'a.png').plot(path=tmp_path / 'drawn é.png')
    np.testing.assert_array_equal(drawn, found.plot(image))
    np.testing.assert_array_equal(read_image(tmp_path / 'drawn é.png'), drawn)


def test_plot_refuses(found, tmp_path):
    image = np.full((40, 60, 3), 100, np.uint8)
    with pytest.raises(UsageError, match=r'have no image file: pass the image, found\.plot\(image\)'):
        found.plot()
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    for call in (
        lambda: found.plot(str(tmp_path / 'a.png'), path=tmp_path / 'a.png'),
        lambda: replace(found, path=tmp_path / 'a.png').plot(path=str(tmp_path / '.' / 'a.png')),
        lambda: replace(found, path=tmp_path / 'a.png').plot(image, path=tmp_path / 'a.png'),
    ):
        with pytest.raises(UsageError, match=r'a\.png is the image itself and would be overwritten'):
            call()
    assert (read_image(tmp_path / 'a.png') == 100).all()
    with pytest.raises(UsageError, match=r"cannot write images with the suffix '\.doc'"):
        found.plot(image, path=tmp_path / 'a.doc')
    with pytest.raises(DataError, match=r'gone/a\.png cannot be written: No such file or directory'):
        found.plot(image, path=tmp_path / 'gone' / 'a.png')


# -------------------------------------------------------------------------------------------------------------- import


def test_import_loads_nothing_heavy():
    code = (
        'import sys, types\n'
        "sys.modules['mmcnn'] = types.ModuleType('mmcnn')\n"  # without the imports of mmcnn/__init__.py
        f"sys.modules['mmcnn'].__path__ = [{str(PACKAGE)!r}]\n"
        'from mmcnn.inference.detections import Detections\n'
        'found = Detections([[0, 0, 1, 1]], [0.5], [0], ["a"])\n'
        'found[found.scores > 0].as_coco(1), repr(found)\n'
        'print(*{name.partition(".")[0] for name in sys.modules})'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert 'numpy' in loaded
    assert not loaded & {'torch', 'cv2', 'PIL', 'matplotlib', 'mmengine', 'mmcv', 'mmdet', 'supervision'}
