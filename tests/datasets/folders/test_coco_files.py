"""Which file belongs to a split: common names, other names, one file for all, and ambiguous cases."""

import json

import pytest

from mmcnn.datasets.folders.coco_files import choose_file, other_files, usual_files
from mmcnn.errors import DataError

COCO = json.dumps({'images': [], 'annotations': [], 'categories': []})


def write(root, *names, content=COCO):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def chosen(root):
    """Return the titles of the files for train and val."""
    return tuple(file and file.title for file in (choose_file(root, name) for name in ('train', 'val')))


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        ('train.json', 'val.json'),
        ('train.json', 'valid.json'),
        ('train.json', 'test.json'),
        ('annotations/instances_train2017.json', 'annotations/instances_val2017.json'),
        ('train/_annotations.coco.json', 'valid/_annotations.coco.json'),
        ('train/_annotations.coco.json', 'val/_annotations.coco.json'),
        ('instances_train2014.json', 'instances_val.json'),
        ('train_annotations.json', 'validation_annotations.json'),
        ('annotations/train.json', 'annotations/dev.json'),
        ('training/labels.json', 'test/labels.json'),
        ('train/annotations/instances.json', 'val/annotations/instances.json'),
        ('annotations/train/a.json', 'annotations/val/a.json'),
    ],
)
def test_names_of_both_splits(tmp_path, train, val):
    write(tmp_path, train, val)
    assert chosen(tmp_path) == (train, val)


def test_val_is_the_first_of_its_words(tmp_path):
    write(tmp_path, 'train.json', 'my_valid.json', 'my_test.json')
    assert chosen(tmp_path) == ('train.json', 'my_valid.json')
    write(tmp_path, 'annotations/instances_val2017.json')
    assert chosen(tmp_path)[1] == 'annotations/instances_val2017.json'


def test_instances_are_meant_before_captions(tmp_path):
    write(tmp_path, *(f'annotations/{kind}_train2014.json' for kind in ('captions', 'instances', 'person_keypoints')))
    assert chosen(tmp_path) == ('annotations/instances_train2014.json', None)
    write(tmp_path, 'annotations/a_val.json', 'annotations/b_val.json')
    with pytest.raises(DataError, match=r'has several files for val, annotations/a_val\.json, annotations/b_val\.json'):
        chosen(tmp_path)


@pytest.mark.parametrize('name', ['annotations.json', '_annotations.coco.json', 'annotations/instances_default.json'])
def test_one_file_is_to_train_on(tmp_path, name):
    write(tmp_path, name)
    assert chosen(tmp_path) == (name, None)
    write(tmp_path, 'another.json')
    with pytest.raises(
        DataError, match='whose names do not contain their splits: rename the training annotations to train'
    ):
        chosen(tmp_path)


def test_other_json_files_are_none(tmp_path):
    write(tmp_path, 'train/settings.json', 'classes.json', content='{"names": ["a"]}')
    write(tmp_path, *(f'train/{i}.json' for i in range(21)))  # one file per image
    write(tmp_path, 'images/a.json', 'train/.hidden/a.json')
    assert (other_files(tmp_path), usual_files(tmp_path), chosen(tmp_path)) == ([], [], (None, None))
