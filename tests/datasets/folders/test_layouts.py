"""Messages about folders with an unknown layout: they never suggest moving annotated images into folders of classes."""

import json

import pytest
from PIL import Image

from mmcnn.datasets.check.detector import check_folder
from mmcnn.datasets.folders.classes import read_class_folder
from mmcnn.datasets.folders.layouts import layout_of
from mmcnn.errors import DataError

COCO = json.dumps({'images': [], 'annotations': [], 'categories': []})


def write(root, *names, content=''):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith('.png'):
            Image.new('RGB', (40, 30), (sum(name.encode()) % 256, len(name), 0)).save(root / name)
        else:
            (root / name).write_text(content)


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (['train/a.png', 'train/a.json'], r'has train/a\.json, but none of them has the lists of COCO format'),
        (['train/a.png', 'notes.json'], r'has notes\.json, but none of them'),
        (['train/a.png', 'train/a.xml'], 'has train/ with annotations beside each image, but no file that names'),
        (['train/a.png', 'train/a.txt'], 'has train/ with annotations beside each image'),
        (['train/cat/a.png'], 'it looks like the data folder of a classifier, but this config trains a detector'),
        (['a.png'], 'has an unknown layout'),
    ],
)
def test_what_a_folder_looks_like(tmp_path, files, message):
    write(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        layout_of(tmp_path)


@pytest.mark.parametrize('val', ['valid', 'val'])
def test_annotated_images_are_not_to_be_moved_into_folders_of_classes(tmp_path, val):
    for name in ('train', val):
        write(tmp_path, f'{name}/a.png')
        write(tmp_path, f'{name}/_annotations.coco.json', content=COCO)
    assert [each.kind for each in check_folder(tmp_path).of('fatal')] == ['no images', 'no images']
    with pytest.raises(DataError, match=r'has train/_annotations\.coco\.json: it is the data folder of a detector'):
        read_class_folder(tmp_path)


def test_a_file_of_annotations_that_is_not_read_is_no_advice_either(tmp_path):
    for name in ('train', 'val'):
        write(tmp_path, f'{name}/a.png', f'{name}/a.json')
    for read in (check_folder, read_class_folder):
        with pytest.raises(DataError) as error:
            read(tmp_path)
        assert 'a.json' in str(error.value)
        assert 'move each' not in str(error.value)


def test_a_classifier_may_have_json_files(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    write(root, 'train/cat/a.png', 'train/dog/ab.png', 'val/cat/abc.png', 'val/dog/abcd.png')
    write(root, 'class_names.json', content='["cat", "dog"]')
    assert check_folder(root).ok
