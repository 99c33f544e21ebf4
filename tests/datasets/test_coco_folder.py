import copy
import json
from pathlib import Path

import pytest

from mmcnn.datasets import DataError, read_coco_folder

BCCD = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data' / 'bccd'

COCO = {
    'images': [
        {'id': 7, 'file_name': 'a.jpg', 'width': 40, 'height': 30},
        {'id': 9, 'file_name': 'sub/b.jpg', 'width': 40, 'height': 30},
    ],
    'annotations': [
        {'id': 1, 'image_id': 7, 'category_id': 3, 'bbox': [1, 2, 10, 10.5], 'area': 105.0, 'iscrowd': 0},
        {'id': 2, 'image_id': 7, 'category_id': 90, 'bbox': [0, 0, 5, 5], 'area': 25, 'iscrowd': 1},
    ],
    'categories': [{'id': 90, 'name': 'zèbre'}, {'id': 3, 'name': 'apple'}],
}


@pytest.fixture
def make(tmp_path):
    """Writes a folder; ``change`` edits the training file's dict first."""

    def write(change=lambda coco: None, val_change=lambda coco: None):
        (tmp_path / 'images' / 'sub').mkdir(parents=True)
        for name in ('a.jpg', 'sub/b.jpg'):
            (tmp_path / 'images' / name).touch()
        for name, edit in (('train.json', change), ('val.json', val_change)):
            coco = copy.deepcopy(COCO)
            edit(coco)
            (tmp_path / name).write_text(json.dumps(coco), encoding='utf-8')
        return tmp_path

    return write


def test_a_good_folder(make):
    root = make(val_change=lambda coco: coco['images'].pop())
    folder = read_coco_folder(str(root))
    assert folder.root == root
    assert folder.classes == ('zèbre', 'apple')  # in the order of the file, not of the ids
    assert (folder.num_train, folder.num_val) == (2, 1)
    assert folder.train_ann_file == root / 'train.json'
    assert folder.val_ann_file == root / 'val.json'
    assert folder.image_prefix == root / 'images'


def test_one_class_and_no_annotations_are_fine(make):
    def one_class(coco):
        coco['categories'] = [{'id': 3, 'name': 'apple'}]
        coco['annotations'] = []

    assert read_coco_folder(make(one_class, one_class)).classes == ('apple',)


@pytest.mark.skipif(not BCCD.is_dir(), reason='the bccd data set is not here')
def test_real_photographs():
    folder = read_coco_folder(BCCD)
    assert folder.classes == ('Platelets', 'RBC', 'WBC')
    assert (folder.num_train, folder.num_val) == (292, 72)


@pytest.mark.parametrize(
    ('remove', 'message'),
    [
        ('.', 'does not exist; a data folder holds'),
        ('val.json', r'val\.json does not exist'),
        ('images', 'images does not'),
    ],
)
def test_missing_parts(make, remove, message):
    root = make()
    (root / remove).rename(root.with_name(root.name + '-moved'))
    with pytest.raises(DataError, match=message) as error:
        read_coco_folder(root)
    assert str(root) in str(error.value)
    assert 'train.json and val.json (COCO format) and images/' in str(error.value)


def test_a_file_where_a_folder_should_be(make):
    root = make()
    with pytest.raises(DataError, match=r'train\.json is not a folder'):
        read_coco_folder(root / 'train.json')
    (root / 'images').rename(root / 'pictures')
    (root / 'images').touch()
    with pytest.raises(DataError, match='images is not a folder'):
        read_coco_folder(root)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{"images": [],\n "annotations": [}', r'val\.json is not valid JSON: line 2, column 18'),
        (b'', r'val\.json is not valid JSON: line 1'),
        (b'\xff\xfe{}', r'val\.json is not UTF-8 text: .* at byte 0'),
        (b'[1]', r'val\.json holds a JSON list'),
        (b'{"images": [], "categories": {}}', r'val\.json has no list of annotations, categories'),
        (b'{"images": [], "categories": [{}], "annotations": []}', r'val\.json has no images'),
        (b'{"images": [{}], "categories": [], "annotations": []}', r'val\.json has no categories'),
    ],
)
def test_files_that_are_not_coco(make, content, message):
    root = make()
    (root / 'val.json').write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_coco_folder(root)


def test_val_json_that_is_a_folder(make):
    root = make()
    (root / 'val.json').unlink()
    (root / 'val.json').mkdir()
    with pytest.raises(DataError, match=r'val\.json cannot be read'):
        read_coco_folder(root)


def edit(path, value):
    """A change of one entry: ``edit(('annotations', 0, 'bbox'), ...)``."""

    def change(coco):
        *parents, key = path
        for parent in parents:
            coco = coco[parent]
        coco[key] = value

    return change


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        (('annotations', 0, 'image_id'), 8, 'annotation 1 has image_id 8, which the file does not define'),
        (('annotations', 0, 'image_id'), [7], r'annotation 1 has image_id \[7\]'),
        (('annotations', 1, 'category_id'), 1, 'annotation 2 has category_id 1, which'),
        (('annotations', 1, 'category_id'), None, 'annotation 2 has category_id None'),
        (('annotations', 0, 'bbox'), [1, 2, 3], r'annotation 1 has bbox \[1, 2, 3\]; it takes four finite numbers'),
        (('annotations', 0, 'bbox'), [1, 2, float('nan'), 4], 'annotation 1 .* four finite numbers'),
        (('annotations', 0, 'bbox'), [1, 2, float('inf'), 4], 'annotation 1 .* four finite numbers'),
        (('annotations', 0, 'bbox'), [1, 2, '3', 4], 'annotation 1 .* four finite numbers'),
        (('annotations', 0, 'bbox'), None, 'annotation 1 has bbox None'),
        (('annotations', 0, 'bbox'), [1, 2, 0, 4], 'annotation 1 .* no area'),
        (('annotations', 0, 'bbox'), [1, 2, 3, -4], 'annotation 1 .* no area'),
        (('annotations', 0, 'area'), 0, 'annotation 1 has area 0; it takes a positive number'),
        (
            ('annotations', 0),
            {'id': 1, 'image_id': 7, 'category_id': 3, 'bbox': [1, 2, 3, 4]},
            'annotation 1 has area None',
        ),
        (('annotations', 1, 'id'), 1, 'annotation id 1 is used twice'),
        (('annotations', 1, 'id'), 'two', 'annotation entry 1 .* no integer id'),
        (('annotations', 1), 'junk', 'annotation entry 1 .* no integer id'),
        (('images', 1, 'id'), 7, 'image id 7 is used twice'),
        (('images', 1, 'file_name'), '', 'image 9 has no file_name'),
        (('images', 1, 'height'), None, 'image 9 has height None'),
        (('categories', 1, 'id'), 90, 'category id 90 is used twice'),
        (('categories', 1, 'name'), 'zèbre', "category 3 has the name of an earlier one, 'zèbre'"),
        (('categories', 1, 'name'), None, 'category 3 has no name'),
    ],
)
def test_each_mistake_is_named(make, path, value, message):
    with pytest.raises(DataError, match=f'train.json: {message}'):
        read_coco_folder(make(edit(path, value)))


def test_mistakes_come_together_five_and_a_count(make):
    def break_boxes(coco):
        coco['annotations'] = [{**coco['annotations'][0], 'id': i, 'bbox': [0, 0, 0, 0]} for i in range(1, 8)]

    with pytest.raises(DataError) as error:
        read_coco_folder(make(break_boxes, edit(('annotations', 0, 'image_id'), 1)))
    lines = str(error.value).splitlines()
    assert lines[0].endswith(': 8 mistakes in the annotations:')
    assert [line.split(' has ')[0] for line in lines[1:6]] == [f'  train.json: annotation {i}' for i in range(1, 6)]
    assert lines[6:] == ['  and 3 more']


@pytest.mark.parametrize(
    ('categories', 'message'),
    [
        (
            [{'id': 90, 'name': 'zèbre'}, {'id': 3, 'name': 'pear'}],
            "only train.json has 'apple'; only val.json has 'pear'",
        ),
        ([{'id': 3, 'name': 'apple'}], "only train.json has 'zèbre'"),
        ([{'id': 3, 'name': 'apple'}, {'id': 90, 'name': 'zèbre'}], 'order: zèbre, apple against apple, zèbre'),
    ],
)
def test_val_with_other_categories(make, categories, message):
    def change(coco):
        coco['categories'], coco['annotations'] = categories, []

    with pytest.raises(DataError, match=message):
        read_coco_folder(make(val_change=change))


def test_missing_images_are_listed_and_counted(make):
    def add_images(coco):
        coco['images'] += [{'id': i, 'file_name': f'{i}.jpg', 'width': 9, 'height': 9} for i in range(100, 107)]

    with pytest.raises(DataError) as error:
        read_coco_folder(make(add_images))
    lines = str(error.value).splitlines()
    assert lines[0].endswith('images: 7 of 9 image files missing:')
    assert lines[1:] == [f'  {i}.jpg' for i in range(100, 105)] + ['  and 2 more']
