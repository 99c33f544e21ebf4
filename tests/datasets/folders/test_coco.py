"""Data folders with COCO files: valid ones and errors."""

import json

import pytest
from PIL import Image

from mmcnn.datasets import check_data
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
    with pytest.raises(
        DataError, match=r'has no val\.json or annotations/instances_val2017\.json with the annotations for'
    ):
        read_coco_folder(root, 'val')


def test_a_byte_order_mark_is_fine(root):
    (root / 'val.json').write_text(json.dumps(COCO), encoding='utf-8-sig')
    assert read_coco_folder(root, 'val').coco == COCO


def test_missing_parts(root):
    (root / 'images').rename(root / 'pictures')
    with pytest.raises(DataError, match=r'images does not exist, but val\.json has images in it'):
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
        (b'[1]', r'val\.json is a JSON list'),
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


# ----------------------------------------------------------------------------------------------- images named by a file

BOX = dict(category_id=1, bbox=[1, 2, 10, 9], area=90, iscrowd=0)


def write_folder(root, names, files, split='train', title=None):
    """Write a COCO file with these names, one box each, and image files of 40 x 30 pixels in different colours."""
    images = [dict(id=i, file_name=name, width=40, height=30) for i, name in enumerate(names)]
    coco = dict(
        images=images,
        annotations=[dict(BOX, id=image['id'], image_id=image['id']) for image in images],
        categories=[dict(id=1, name='cat')],
    )
    path = root / (title or f'{split}.json')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco))
    for i, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (40, 30), (40 * i, 0, 250 if split == 'val' else 0)).save(root / file)


def files_of(split):
    return [split.image_path(image).relative_to(split.root).as_posix() for image in split.coco['images']]


@pytest.mark.parametrize(
    ('names', 'changed'),
    [
        (['a.png', 'b.png'], False),
        (['./a.png', './b.png'], False),
        (['images/a.png', 'images/b.png'], False),
        (['images\\a.png', 'images\\b.png'], True),
        (['..\\..\\label-tool\\upload\\4\\a.png', '..\\..\\label-tool\\upload\\4\\b.png'], True),
        (['/home/me/a.png', '/home/me/b.png'], True),
        (['A.png', 'b.PNG'], True),
        (['a', 'b.jpg'], True),
        (['a.png', 'images/b.png'], True),
    ],
)
def test_names_lead_to_the_images_and_what_was_changed_is_used(tmp_path, names, changed):
    write_folder(tmp_path, names, ['images/a.png', 'images/b.png'])
    split = read_coco_folder(tmp_path, 'train')
    assert files_of(split) == ['images/a.png', 'images/b.png']
    assert (split.changed, bool(split.findings), split.problems) == (changed, changed, {})


def test_the_samples_of_corrected_names_are_those_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    write_folder(root, ['images\\a.png', 'images\\b.png'], ['images/a.png', 'images/b.png'])
    write_folder(root, ['D:\\images\\c.png'], ['images/c.png'], 'val')
    data = check_data(root).usable()
    for name, expected in (('train', ['a.png', 'b.png']), ('val', ['c.png'])):
        file, prefix = data.files[name]
        assert [image['file_name'] for image in json.loads((root / file).read_bytes())['images']] == expected
        assert prefix == 'images/'


def test_images_that_cannot_be_told_say_why(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    names = ['x\\s.png', 'x\\gone.png', 'gone.png', 'a.png', 'A.png']
    write_folder(root, names, ['images/one/s.png', 'images/two/s.png', 'images/a.png'])
    write_folder(root, ['c.png'], ['images/c.png'], 'val')
    report = check_data(root)
    assert [str(each) for each in report.of('error')] == [
        'images/x\\s.png: image 0 does not exist: 2 files match: images/one/s.png, images/two/s.png',
        'images/x\\gone.png: image 1 does not exist: it is a Windows path, and no file has this name',
        'images/gone.png: image 2 does not exist',
        "images/A.png: image 4 does not exist: the only matching file is that of 'a.png'",
    ]
    assert report.of('note') == []


def test_images_of_another_split_are_not_taken(tmp_path):
    files = ['train2017/a.png', 'val2017/a.png', 'val2017/b.png']
    write_folder(tmp_path, ['a.png', 'b.png'], files, title='annotations/instances_train2017.json')
    split = read_coco_folder(tmp_path, 'train')
    assert files_of(split) == ['train2017/a.png', 'train2017/b.png']  # the second does not exist
    assert not split.changed


@pytest.mark.parametrize(
    ('title', 'folder'),
    [
        ('train/_annotations.coco.json', 'train'),
        ('train/_annotations.coco.json', 'train/images'),
        ('train.json', 'images/train'),
        ('train.json', 'train'),
        ('train.json', 'photos'),
        ('annotations/instances_train2017.json', 'images/train2017'),
        ('annotations/train.json', 'train'),
        ('annotations/instances_default.json', 'images/default'),
        ('labels.json', 'data'),
        ('annotations.json', '.'),
    ],
)
def test_where_images_are_laid(tmp_path, title, folder):
    (tmp_path / 'images').mkdir()
    write_folder(tmp_path, ['a.png'], [f'{folder}/a.png', 'val/a.png'], title=title)
    split = read_coco_folder(tmp_path, 'train')
    assert files_of(split) == [f'{folder}/a.png'.removeprefix('./')]
    assert not split.changed


def test_two_folders_that_may_be_meant(tmp_path):
    write_folder(tmp_path, ['a.png'], ['one/a.png', 'two/a.png'])
    with pytest.raises(DataError, match=r'has the images of train\.json in several folders, one/, two/'):
        read_coco_folder(tmp_path, 'train')


def test_val_by_another_name_is_said(root):
    (root / 'val.json').rename(root / 'valid.json')
    split = read_coco_folder(root, 'val')
    assert [str(each) for each in split.findings] == [
        'valid.json: is used for validation, because there is no split called val'
    ]


def test_a_missing_image_is_not_replaced_by_its_namesake(tmp_path):
    files = ['images/v1/1.png', 'images/v2/1.png', 'images/v2/3.png']
    write_folder(tmp_path, ['v1/1.png', 'v1/3.png', 'v2/1.png'], files)
    split = read_coco_folder(tmp_path, 'train')
    assert files_of(split) == ['images/v1/1.png', 'images/v1/3.png', 'images/v2/1.png']
    assert not split.changed
    assert list(split.problems) == ['v1/3.png']


def test_masks_are_written_as_they_were_read(root, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    file = root / 'train.json'
    coco = json.loads(file.read_text())
    masks = [
        [[1.0, 2.5, 3.0, 4.0, 0.1, 9.0]],
        [[1, 2, 3, 4, 5, 6], [1.5, 2, 3, 4, 5, 6]],
        dict(counts='x', size=[9, 9]),
        [],
    ]
    image, category = coco['images'][0], coco['categories'][0]
    image['file_name'] = 'a.png'
    Image.new('RGB', (9, 9)).save(root / 'images' / 'a.png')
    box = dict(image_id=image['id'], category_id=category['id'], bbox=[1, 1, 4, 4], area=16, iscrowd=0)
    coco['annotations'] = [dict(box, id=str(i), segmentation=mask) for i, mask in enumerate(masks)]
    file.write_text(json.dumps(coco))
    usable = check_data(root, names=('train',)).usable()  # ids as text: the file is written again
    written = json.loads((root / usable.files['train'][0]).read_text())['annotations']
    assert [each['segmentation'] for each in written] == masks
    assert [[type(x) for x in polygon] for polygon in written[1]['segmentation']] == [
        [type(x) for x in polygon] for polygon in masks[1]
    ]
