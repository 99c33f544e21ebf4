"""Folders with COCO files: what is read, and what cannot be."""

import json

import pytest

from mmcnn.datasets.folders.coco import is_coco_folder, read_coco_folder
from mmcnn.errors import DataError

COCO = {'images': [{'id': 1}], 'annotations': [], 'categories': [{'id': 1, 'name': 'zèbre'}]}


@pytest.fixture
def root(tmp_path):
    """train.json, val.json and images/."""
    (tmp_path / 'images').mkdir()
    for name in ('train', 'val'):
        (tmp_path / f'{name}.json').write_text(json.dumps(COCO), encoding='utf-8')
    return tmp_path


def test_own_layout(root):
    assert is_coco_folder(root)
    split = read_coco_folder(root, 'val')
    assert (split.name, split.title, split.prefix, split.ann_file) == ('val', 'val.json', 'images/', root / 'val.json')
    assert split.coco == COCO
    assert not split.changed
    assert split.image_path({'file_name': 'a/b.jpg'}) == root / 'images' / 'a' / 'b.jpg'


def test_the_layout_of_coco_2017(root):
    (root / 'annotations').mkdir()
    (root / 'train.json').rename(root / 'annotations' / 'instances_train2017.json')
    (root / 'val.json').unlink()
    (root / 'images').rename(root / 'train2017')
    assert is_coco_folder(root)
    split = read_coco_folder(root, 'train')
    assert (split.title, split.prefix) == ('annotations/instances_train2017.json', 'train2017/')
    with pytest.raises(DataError, match=r'has no val\.json or annotations/instances_val2017\.json, the annotations to'):
        read_coco_folder(root, 'val')


def test_a_byte_order_mark_is_fine(root):
    (root / 'val.json').write_text(json.dumps(COCO), encoding='utf-8-sig')
    assert read_coco_folder(root, 'val').coco == COCO


def test_missing_parts(root):
    (root / 'images').rename(root / 'pictures')
    with pytest.raises(DataError, match=r'images does not exist: val\.json names images in it'):
        read_coco_folder(root, 'val')
    (root / 'images').touch()
    with pytest.raises(DataError, match='images is not a folder'):
        read_coco_folder(root, 'val')
    (root / 'val.json').unlink()
    (root / 'train.json').unlink()
    assert not is_coco_folder(root)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{"images": [],\n "annotations": [}', r'val\.json is not valid JSON: line 2, column 18'),
        (b'', r'val\.json is not valid JSON: line 1'),
        (b'\xff\xfe{}', r'val\.json is not UTF-8 text: .* at byte 0'),
        (b'[1]', r'val\.json holds a JSON list'),
        (b'{"images": [], "categories": {}}', r'val\.json has no list of annotations, categories'),
        (b'[' * 100000, r'val\.json cannot be read: maximum recursion'),
        (b'{"images": [' + b'1' * 5000 + b']}', r'val\.json cannot be read: .* integer string'),
    ],
)
def test_files_that_are_not_coco(root, content, message):
    (root / 'val.json').write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_coco_folder(root, 'val')


def test_val_json_that_is_a_folder(root):
    (root / 'val.json').unlink()
    (root / 'val.json').mkdir()
    with pytest.raises(DataError, match=r'val\.json cannot be read: Is a directory'):
        read_coco_folder(root, 'val')
