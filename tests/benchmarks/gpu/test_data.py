import json

import pytest

from mmcnn.benchmarks import pipeline
from mmcnn.benchmarks.gpu import data
from mmcnn.datasets import check_data
from mmcnn.datasets.check.classifier import check_class_folder
from mmcnn.datasets.folders.classes import read_class_folder


def test_folders_of_a_detector_and_of_a_classifier(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 9)
    monkeypatch.setattr(data, 'COPIES', 3)
    detectors, classifiers = data.draw(tmp_path, tiny=False)
    folder = check_data(detectors).usable()
    assert (folder.num_train, folder.num_val, len(folder.classes)) == (24, 1, 80)
    boxes = [each['bbox'] for each in json.loads((detectors / 'train.json').read_text())['annotations']]
    assert len({tuple(box) for box in boxes}) > 100  # each copy has its own boxes
    found = read_class_folder(str(classifiers), 'train')
    assert found.classes == data.CLASSES
    check_class_folder(found).usable()  # no image is in both splits or in two classes
    assert len(list(classifiers.glob('val/*/*.jpg'))) == 4


@pytest.mark.parametrize('classes', [1, 3])
def test_classes_in_turn(tmp_path, monkeypatch, classes):
    monkeypatch.setattr(pipeline, 'NUM_PHOTOGRAPHS', 2)
    root = pipeline.make_photographs(tmp_path / 'x', classes)
    train = json.loads((root / 'train.json').read_text())
    assert [each['category_id'] for each in train['annotations']] == [1 + i % classes for i in range(8)]
    assert len(train['categories']) == classes and len(train['images']) == 1
