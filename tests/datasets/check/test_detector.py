"""The whole check of a detector's data folder: errors within and across splits, and what is skipped."""

import hashlib
import json
import shutil
import struct
import zlib
from pathlib import Path

import hotcoco
import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.datasets.check.drawn_split import Draw
from mmcnn.datasets.folders.findings import listed
from mmcnn.errors import DataError

BCCD = Path(__file__).resolve().parents[3] / '..' / 'shared' / 'data' / 'bccd'
COLOURS = {'a.png': 'red', 'b.png': 'green', 'c.png': 'blue', 'd.png': 'white'}


def coco_of(*names):
    """Return a COCO dict in which each image has two boxes, one of each category; image ids start at 10."""
    images = [dict(id=i, file_name=name, width=40, height=30) for i, name in enumerate(names, start=10)]
    annotations = [
        dict(id=2 * image['id'] + i, image_id=image['id'], category_id=id_, bbox=[1, 2, 10, 9], area=90, iscrowd=0)
        for image in images
        for i, id_ in enumerate((90, 3))
    ]
    return dict(images=images, annotations=annotations, categories=[dict(id=90, name='zèbre'), dict(id=3, name='$x_')])


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a folder of three training images and one validation image; the arguments edit the COCO dicts first."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(change=lambda coco: None, val_change=lambda coco: None):
        root = tmp_path / 'data'
        (root / 'images').mkdir(parents=True)
        for name, colour in COLOURS.items():
            Image.new('RGB', (40, 30), colour).save(root / 'images' / name)
        parts = {'train': (change, coco_of('a.png', 'b.png', 'c.png')), 'val': (val_change, coco_of('d.png'))}
        for name, (edit, coco) in parts.items():
            edit(coco)
            (root / f'{name}.json').write_text(json.dumps(coco), encoding='utf-8')
        return root

    return write


def state(root):
    """Return the names, contents and modification times of all files in a folder."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None)
        for path in [root, *root.rglob('*')]
    }


def found(root, *kinds):
    """Return kind, file and id of each finding."""
    findings = check_data(root).findings
    return [(each.kind, each.file, each.id) for each in findings if not kinds or each.kind in kinds]


def read(data, part):
    """Return the samples that MMDetection reads from a split of usable data."""
    from mmdet.datasets import CocoDataset

    ann_file, prefix = data.files[part]
    dataset = CocoDataset(
        data_root=str(data.root), ann_file=ann_file, data_prefix=dict(img=prefix), pipeline=[],
        metainfo=dict(classes=data.classes), test_mode=True,
    )  # fmt: skip
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_a_good_folder(make):
    root = make()
    before = state(root)
    report = check_data(str(root))
    assert report.findings == ()
    assert report.title() == f'{root}: train.json: 3 images, 6 boxes; val.json: 1 image, 2 boxes; 2 classes'
    data = report.usable()
    assert (data.root, data.classes, data.num_train, data.num_val) == (root, ('zèbre', '$x_'), 3, 1)
    assert data.files == {'train': ('train.json', 'images/'), 'val': ('val.json', 'images/')}
    assert report.usable(skip_bad=True) == data
    assert state(root) == before
    assert [len(sample['instances']) for sample in read(data, 'train')] == [2, 2, 2]


def test_the_layout_of_coco_2017(make):
    root = make()
    (root / 'annotations').mkdir()
    for name in ('train', 'val'):
        (root / f'{name}.json').rename(root / 'annotations' / f'instances_{name}2017.json')
        shutil.copytree(root / 'images', root / f'{name}2017')
    shutil.rmtree(root / 'images')
    data = check_data(root).usable()
    samples = read(data, 'train')
    assert [sample['img_path'] for sample in samples] == [str(root / 'train2017' / f'{each}.png') for each in 'abc']


def test_only_val(make):
    root = make()
    (root / 'train.json').unlink()
    data = check_data(root, ('val',)).usable()
    assert (data.num_train, data.num_val, data.classes) == (None, 1, ('zèbre', '$x_'))
    with pytest.raises(DataError, match=r'has no train\.json'):
        check_data(root)


def test_one_class_crowds_and_empty_images_are_fine(make):
    def change(coco):
        coco['categories'].pop()
        coco['annotations'] = [each for each in coco['annotations'] if each['category_id'] == 90]
        coco['annotations'] = coco['annotations'][:2]
        coco['annotations'][1]['iscrowd'] = 1

    def val_change(coco):
        coco['categories'].pop()
        coco['annotations'].pop()

    report = check_data(make(change, val_change))
    assert list(map(str, report.findings)) == [
        'train.json: 1 of 2 boxes are crowd (iscrowd is 1) and are not trained on'
    ]
    assert report.ok
    samples = read(report.usable(), 'train')
    assert [[each['ignore_flag'] for each in sample['instances']] for sample in samples] == [[0], [1], []]


def test_what_is_missing_is_filled_in(make, tmp_path):
    def change(coco):
        del coco['annotations'][0]['area']
        coco['annotations'][1]['iscrowd'] = None
        coco['annotations'][2]['area'] = 0
        del coco['images'][1]['width'], coco['images'][1]['height']
        coco['images'][2]['width'] = None

    root = make(change)
    before = state(root)
    report = check_data(root)
    assert [(each.kind, each.id) for each in report.findings] == [('bad area', 22)]
    data = report.usable()
    file = Path(data.files['train'][0])
    assert file.is_relative_to(tmp_path / 'cache')
    assert data.files['val'] == ('val.json', 'images/')
    coco = json.loads(file.read_bytes())
    assert [each['area'] for each in coco['annotations'][:3]] == [90, 90, 90]
    assert [(each['width'], each['height']) for each in coco['images']] == [(40, 30)] * 3
    assert [len(sample['instances']) for sample in read(data, 'train')] == [2, 2, 2]
    assert check_data(root).usable() == data  # it uses the same file
    assert state(root) == before


@pytest.mark.parametrize(
    ('key', 'entry'), [('annotations', {'area': None}), ('annotations', {'iscrowd': None}), ('images', {'width': None})]
)
def test_each_of_it_makes_another_file(make, key, entry):
    root = make(lambda coco: coco[key][0].update(entry))
    file = check_data(root).usable().files['train'][0]
    expected = coco_of('a.png', 'b.png', 'c.png')
    assert json.loads((root / file).read_bytes()) == expected != json.loads((root / 'train.json').read_bytes())


@pytest.mark.parametrize(
    'change',
    [
        lambda coco: coco.update(info='exported by a tool', licenses='free'),
        lambda coco: coco.update(info=dict(year='2024', version='1')),
        lambda coco: coco['categories'][0].update(keypoints='none'),
        lambda coco: coco['images'][0].update(license='free'),
        lambda coco: coco['annotations'][0].update(segmentation='none'),
    ],
)
def test_notes_of_other_tools_do_not_stop_evaluation(make, change):
    root = make(change, change)
    data = check_data(root).usable()
    coco = hotcoco.COCO(str(root / data.files['val'][0]))
    assert (len(coco.get_img_ids()), len(coco.get_ann_ids())) == (1, 2)
    assert data.files['train'][0] == 'train.json'


def test_a_cache_folder_that_cannot_be_written(make, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    root = make(lambda coco: coco['annotations'][0].pop('area'))
    with pytest.raises(DataError, match=r'cannot write \S*train\.json: .*set XDG_CACHE_HOME to a writable'):
        check_data(root).usable()


def test_pictures_that_cannot_be_used(make):
    root = make()
    (root / 'images' / 'a.png').unlink()
    content = (root / 'images' / 'b.png').read_bytes()
    (root / 'images' / 'b.png').write_bytes(content[: len(content) * 2 // 3])
    (root / 'images' / 'd.png').write_bytes(b'text')
    assert found(root) == [
        ('missing image', 'images/a.png', 10),
        ('truncated image', 'images/b.png', 11),
        ('unreadable image', 'images/d.png', 10),
        ('no images', 'val.json', None),
    ]


def test_sizes(make):
    root = make()
    Image.new('RGB', (41, 30), 'red').save(root / 'images' / 'a.png')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30), 'green').save(root / 'images' / 'b.png', exif=exif)
    first, second = check_data(root).findings
    assert str(first) == 'images/a.png: image 10 has 41 x 30 px, but 40 x 30 in the annotations'
    assert str(second) == (
        'images/b.png: image 11 has 30 x 40 px after its EXIF rotation: size and boxes must be those of the rotated '
        'image, but 40 x 30 in the annotations'
    )
    assert {first.kind, second.kind} == {'wrong size'}

    # The same image, annotated with its size after rotation.
    coco = coco_of('a.png', 'b.png', 'c.png')
    coco['images'][0]['width'] = 41
    coco['images'][1].update(width=30, height=40)
    (root / 'train.json').write_text(json.dumps(coco))
    assert found(root) == []


def test_pictures_to_train_on_that_are_in_val(make):
    root = make()
    Image.open(root / 'images' / 'd.png').save(root / 'images' / 'b.png', optimize=True, compress_level=1)
    assert (root / 'images' / 'd.png').read_bytes() != (root / 'images' / 'b.png').read_bytes()
    (finding,) = check_data(root).findings
    assert (finding.kind, finding.id) == ('train image in val', 11)
    assert str(finding) == 'images/b.png: image 11 is the same as image 10 of val.json, images/d.png'
    data = check_data(root).usable(skip_bad=True)
    assert [sample['img_id'] for sample in read(data, 'train')] == [10, 12]
    assert data.num_val == 1


def test_empty_sets(make):
    root = make(lambda coco: coco['images'].clear())
    assert ('no images', 'train.json', None) in found(root)
    with pytest.raises(DataError, match='has no images'):
        check_data(root).usable(skip_bad=True)


def test_no_boxes(make):
    assert found(make(lambda coco: coco['annotations'].clear())) == [('no boxes', 'train.json', None)]


def test_a_set_that_is_empty_once_what_is_bad_is_left_out(make):
    root = make()
    (root / 'images' / 'd.png').write_bytes(b'')
    with pytest.raises(DataError) as error:
        check_data(root).usable(skip_bad=True)
    assert str(error.value).splitlines()[1:] == [
        'consequences of the errors below: val.json has no images',
        'error: unreadable image (1)',
        '  images/d.png: image 10 is empty',
    ]


def test_classes_without_a_box(make):
    def only_crowds(coco):
        for annotation in coco['annotations']:
            if annotation['category_id'] == 3:
                annotation['iscrowd'] = 1

    report = check_data(make(only_crowds))
    crowds, finding = report.findings
    assert str(crowds) == 'train.json: 3 of 6 boxes are crowd (iscrowd is 1) and are not trained on'
    assert str(finding) == "train.json: category 3, '$x_', has no boxes"
    assert (finding.kind, finding.severity, finding.id) == ('class without a box', 'warning', 3)
    assert report.usable().num_train == 3


@pytest.mark.parametrize(
    ('categories', 'message'),
    [
        (
            [{'id': 90, 'name': 'zèbre'}, {'id': 3, 'name': 'pear'}],
            "only train.json has '$x_'; only val.json has 'pear'",
        ),
        ([{'id': 90, 'name': 'zèbre'}], "only train.json has '$x_'"),
        ([{'id': 3, 'name': '$x_'}, {'id': 90, 'name': 'zèbre'}], 'in another order: $x_, zèbre and zèbre, $x_'),
    ],
)
def test_val_with_other_categories(make, categories, message):
    report = check_data(make(val_change=lambda coco: coco.update(categories=categories)))
    (finding,) = report.of('fatal')
    assert finding.kind == 'different categories'
    assert message in finding.text
    with pytest.raises(DataError, match='different categories'):
        report.usable(skip_bad=True)


def test_unusable_data_is_refused_with_a_list(make):
    def change(coco):
        coco['annotations'] = [{**coco['annotations'][0], 'id': i, 'bbox': [0, 0, 0, 0]} for i in range(1, 8)]
        coco['annotations'].append({**coco['annotations'][0], 'id': 8, 'bbox': [1, 2, 10, 9], 'category_id': 4})

    root = make(change, lambda coco: coco['annotations'][0].update(image_id=5))
    with pytest.raises(DataError) as error:
        check_data(root).usable()
    assert str(error.value).splitlines() == [
        f'{root}: train.json: 3 images, 8 boxes; val.json: 1 image, 2 boxes; 2 classes; cannot be used for training:',
        'consequences of the errors below: train.json has no boxes; val.json has 1 class without boxes',
        'error: unknown image (1)',
        '  val.json: annotation 20 has image_id 5, which is not defined',
        'error: unknown category (1)',
        '  train.json: annotation 8 has category_id 4, which is not defined',
        'error: box of zero area (7)',
        *(
            f'  train.json: annotation {i} has bbox [0.0, 0.0, 0.0, 0.0] without area; width and height must '
            'be positive'
            for i in range(1, 6)
        ),
        '  and 2 more',
    ]


def test_what_is_bad_is_left_out_and_counted(make):
    def change(coco):
        coco['annotations'][0]['bbox'] = [1, 2, 0, 9]
        coco['annotations'][1]['category_id'] = 7
        coco['images'].append({**coco['images'][1], 'id': 10})
        coco['annotations'].append({**coco['annotations'][2], 'id': 22})

    root = make(change)
    (root / 'images' / 'c.png').unlink()
    before = state(root)
    report = check_data(root)
    with pytest.raises(DataError, match=r'cannot be used for training \(skip_bad=True skips entries with errors\):'):
        report.usable()
    data = report.usable(skip_bad=True)
    assert report.left_out() == (
        'left out: duplicate id 2, missing image 1, unknown category 1, box of zero area 1; in total 2 images and 5 '
        'boxes of train.json, 0 images and 0 boxes of val.json'
    )
    assert (data.num_train, data.num_val) == (2, 1)
    samples = read(data, 'train')
    assert [(Path(sample['img_path']).name, len(sample['instances'])) for sample in samples] == [
        ('a.png', 0),
        ('b.png', 2),
    ]
    assert all(Path(sample['img_path']).is_file() for sample in samples)
    assert state(root) == before


def test_entries_of_all_sorts_are_no_traceback(make):
    def change(coco):
        coco['images'] += [None, {'id': 50}, {'id': 51, 'file_name': ['x']}, {'id': 52, 'file_name': 'nul\0'}]
        coco['images'] += [
            {'id': 53, 'file_name': '\ud800', 'width': 4, 'height': 4},
            {'id': 54, 'file_name': 'x' * 999},
        ]
        coco['annotations'] += [None, 3, {'id': 90}, {'id': 91, 'image_id': {}, 'category_id': {}, 'bbox': 'x'}]

    root = make(change)
    data = check_data(root).usable(skip_bad=True)
    assert (data.num_train, data.num_val) == (3, 1)


def test_categories_of_all_sorts_are_no_traceback(make):
    categories = [None, 5, {'id': 1}, {'id': [2], 'name': 'a'}]
    report = check_data(make(val_change=lambda coco: coco.update(categories=categories)))
    assert [each.text for each in report.of('fatal')][:4] == [
        'category entry 0 (counted from 0) has no integer id',
        'category entry 1 (counted from 0) has no integer id',
        'category 1 has no name',
        'category entry 3 (counted from 0) has no integer id',
    ]
    with pytest.raises(DataError, match='bad category'):
        report.usable(skip_bad=True)


def test_folders_of_no_known_layout(make, tmp_path):
    for path, message in (
        (tmp_path / 'gone', 'gone does not exist; a data folder has train.json and val.json'),
        (make() / 'train.json', 'train.json is not a folder'),
        (tmp_path, 'has an unknown layout; .*train2017/.*data.yaml, images/ and labels/ .YOLO.*JPEGImages/'),
    ):
        with pytest.raises(DataError, match=message):
            check_data(path)
    (tmp_path / 'train').mkdir()
    with pytest.raises(DataError, match='it looks like the data folder of a classifier'):
        check_data(tmp_path)


def test_without_decoding_pictures_need_not_be_there(make):
    root = make()
    (root / 'images' / 'a.png').unlink()
    assert check_data(root, decode=False).findings == ()


# ---------------------------------------------------------------------------------------------------------- conversions


def test_ids_and_boxes_as_text_are_read_with_notes(make):
    def change(coco):
        for key, names in dict(images=['id'], annotations=['id', 'image_id'], categories=['id']).items():
            for entry in coco[key]:
                entry.update({name: str(entry[name]) for name in names})
        for entry in coco['annotations']:
            entry.update(category_id=float(entry['category_id']), bbox=[str(side) for side in entry['bbox']])

    report = check_data(make(change, change))
    assert report.ok
    assert {each.kind for each in report.findings} == {'read as'}
    data = report.usable()
    assert [len(sample['instances']) for sample in read(data, 'train')] == [2, 2, 2]
    coco = hotcoco.COCO(str(data.root / data.files['val'][0]))
    assert (coco.get_img_ids(), sorted(coco.get_cat_ids()), coco.get_ann_ids()) == ([10], [3, 90], [20, 21])


def test_ids_as_text_are_read_before_a_split_is_drawn(make):
    def change(coco):
        for key, names in dict(images=['id'], annotations=['id', 'image_id']).items():
            for entry in coco[key]:
                entry.update({name: str(entry[name]) for name in names})

    root = make(change)
    (root / 'val.json').unlink()
    report = check_data(root, draw=Draw(0.34, 0))
    assert report.ok and sum('id of 3 images was converted' in each.text for each in report.findings) == 1
    data = report.usable()
    assert (data.num_train, data.num_val) == (2, 1)
    assert [len(sample['instances']) for part in ('train', 'val') for sample in read(data, part)] == [2, 2, 2]


def test_a_grouping_category_is_no_class(make):
    def change(coco):
        for category in coco['categories']:
            category['supercategory'] = 'signs'
        coco['categories'].insert(0, dict(id=0, name='signs', supercategory='none'))

    root = make(change, change)
    report = check_data(root)
    assert [str(each)[:39] for each in report.findings] == [
        "train.json: category 0, 'signs', is not", "val.json: category 0, 'signs', is not u",
    ]  # fmt: skip
    assert report.title().endswith('; 2 classes')
    data = report.usable()
    assert data.classes == ('zèbre', '$x_')
    labels = [each['bbox_label'] for sample in read(data, 'train') for each in sample['instances']]
    assert labels == [0, 1] * 3
    assert check_data(root, ('val',)).usable().classes == ('zèbre', '$x_')
    assert check_data(root, ('val',), choice=lambda names, title: names).usable().classes == ('signs', 'zèbre', '$x_')


def test_chosen_classes(make):
    def choice(names, title):
        return [name for name in names if name == '$x_']

    root = make(lambda coco: coco['annotations'].pop())
    report = check_data(root, choice=choice)
    assert [str(each) for each in report.findings] == [
        f'{name}.json: 1 of 2 classes; dropped boxes of the others: {boxes}; images without remaining boxes, used as '
        f'background if the config trains on such images: {images}'
        for name, boxes, images in (('train', 3, 1), ('val', 1, 0))
    ]
    data = report.usable()
    assert (data.classes, data.num_train, data.num_val) == (('$x_',), 3, 1)
    assert [len(sample['instances']) for sample in read(data, 'train')] == [1, 1, 0]
    assert {each['bbox_label'] for sample in read(data, 'train') for each in sample['instances']} == {0}


def test_all_boxes_are_crowds(make):
    def change(coco):
        for annotation in coco['annotations']:
            annotation['iscrowd'] = 1

    report = check_data(make(change, change))
    assert [str(each) for each in report.findings] == [
        'train.json: 6 of 6 boxes are crowd (iscrowd is 1) and are not trained on',
        'val.json: 2 of 2 boxes are crowd (iscrowd is 1) and are not counted, detected or not',
        'train.json: has no boxes to train on: all boxes are crowd; iscrowd must be 0 for a box of a single object',
        'val.json: has no objects to evaluate, so there will be no AP and no best checkpoint: all boxes are crowd; '
        'iscrowd must be 0 for a box of a single object',
    ]
    with pytest.raises(DataError, match=r'has no boxes to train on: all boxes are crowd; iscrowd must be 0'):
        report.usable()


def test_val_without_objects_is_a_warning(make):
    report = check_data(make(val_change=lambda coco: coco['annotations'].clear()))
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ('nothing to measure', 'warning')
    assert report.usable().num_val == 1


def test_keys_of_other_names_are_the_cause(make):
    def change(coco):
        for image in coco['images']:
            image['filename'] = image.pop('file_name')

    with pytest.raises(DataError) as error:
        check_data(make(change)).usable()
    assert str(error.value).splitlines()[1:] == [
        'consequences of the errors below: train.json has no images',
        'error: bad image entry (3)',
        *(
            f"  train.json: image {i} has no file_name: its key is `filename`, COCO's is `file_name`"
            for i in (10, 11, 12)
        ),
    ]


def test_corners_end_the_run_also_where_errors_are_left_out(make):
    def change(coco):
        for annotation in coco['annotations']:
            annotation['bbox'] = [15, 12, 35, 28]

    with pytest.raises(
        DataError,
        match=r'(?s)error: box format \(1\)\n  train\.json and val\.json: the bbox values seem to be corners:',
    ):
        check_data(make(change)).usable(skip_bad=True)


# ----------------------------------------------------------------------------------------------- one error of each kind

EXPECTED = """\
warning: box partly outside the image (1)
  train.json: annotation 6 has bbox [554.0, 355.0, 90.0, 100.0], which leaves the image of 640 x 480 px, \
BloodImage_00000.jpg; training clips it
warning: class without a box (1)
  val.json: category 4, 'Schizozyten ß', has no boxes
consequences of the errors below: train.json has 1 class without boxes
error: duplicate id (2)
  train.json: image id 10 is used twice
  train.json: annotation id 26 is used twice
error: missing image (1)
  images/BloodImage_00003.jpg: image 4 does not exist
error: unreadable image (1)
  images/BloodImage_00004.jpg: image 5 is not an image that Pillow or OpenCV can read
error: truncated image (2)
  images/BloodImage_00005.jpg: image 6 cannot be decoded: image file is truncated
  images/BloodImage_00006.jpg: image 7 is damaged: libjpeg says "Corrupt JPEG data: premature end of data segment"
error: decompression bomb (1)
  images/BloodImage_00008.jpg: image 8 is not decoded, because its header declares more than 178,956,970 pixels
error: wrong size (2)
  images/BloodImage_00001.jpg: image 2 has 640 x 480 px, but 480 x 640 in the annotations
  images/BloodImage_00002.jpg: image 3 has 480 x 640 px after its EXIF rotation: size and boxes must be those of the \
rotated image, but 640 x 480 in the annotations
error: train image in val (1)
  images/BloodImage_00009.jpg: image 9 is the same as image 293 of val.json, images/BloodImage_00007.jpg
error: unknown image (1)
  train.json: annotation 1 has image_id 9999, which is not defined
error: unknown category (1)
  train.json: annotation 2 has category_id 9, which is not defined
error: bad box (1)
  train.json: annotation 3 has bbox [213.0, nan, 107.0, 100.0]; it must be four finite numbers, x, y, width, height
error: box of zero area (1)
  train.json: annotation 4 has bbox [213.0, 361.0, 107.0, 0.0] without area; width and height must be positive
error: box outside the image (1)
  train.json: annotation 5 has bbox [640.0, 351.0, 93.0, 94.0], outside the image of 640 x 480 px, BloodImage_00000.jpg
"""


def break_each(root):
    """Add one error of each kind to a copy of bccd, whose training images 1 to 14 have ids and boxes in order."""
    train, val = (json.loads((root / f'{name}.json').read_text()) for name in ('train', 'val'))
    boxes, images = train['annotations'], train['images']
    boxes[0]['image_id'] = 9999
    boxes[1]['category_id'] = 9
    boxes[2]['bbox'] = [213.0, float('nan'), 107.0, 100.0]
    boxes[3]['bbox'][3] = 0.0
    boxes[4]['bbox'][0] = 640.0
    boxes[5]['bbox'][2] = 90.0  # 4 px beyond the right side
    boxes[26]['id'] = 26
    images.append({**images[9], 'file_name': 'BloodImage_00010.jpg'})
    images[1].update(width=480, height=640)
    for coco in (train, val):
        coco['categories'].append(dict(id=4, name='Schizozyten ß'))
    for name, coco in (('train', train), ('val', val)):
        (root / f'{name}.json').write_text(json.dumps(coco))

    def path(number):
        return root / 'images' / images[number - 1]['file_name']

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path(3)).save(path(3), exif=exif)
    path(4).unlink()
    path(5).write_text('<html>404</html>')
    content = path(6).read_bytes()
    path(6).write_bytes(content[: len(content) // 2])
    content = path(7).read_bytes()
    path(7).write_bytes(content[: len(content) // 2] + content[len(content) // 2 + 2000 :])
    size = struct.pack('>II', 60000, 60000)
    path(8).write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', size + bytes((8, 2, 0, 0, 0))) + chunk(b'IDAT', b''))
    with Image.open(root / 'images' / val['images'][0]['file_name']) as held_out:
        held_out.save(path(9), format='PNG')


def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


@pytest.mark.skipif(not BCCD.is_dir(), reason='the bccd data set is not here')
def test_real_photographs():
    report = check_data(BCCD)
    assert report.findings == ()
    data = report.usable()
    assert data.classes == ('Platelets', 'RBC', 'WBC')
    assert (data.num_train, data.num_val) == (292, 72)


@pytest.mark.skipif(not BCCD.is_dir(), reason='the bccd data set is not here')
def test_one_fault_of_each_kind_in_real_photographs(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'bccd'
    shutil.copytree(BCCD, root)
    break_each(root)
    before = state(root)
    report = check_data(root)
    assert listed(report.findings) == EXPECTED.splitlines()
    assert report.left_out() == (
        'left out: duplicate id 2, missing image 1, unreadable image 1, truncated image 2, decompression bomb 1, '
        'wrong size 2, train image in val 1, unknown image 1, unknown category 1, bad box 1, box of zero area 1, '
        'box outside the image 1; in total 9 images and 148 boxes of train.json, 0 images and 0 boxes of val.json'
    )
    data = report.usable(skip_bad=True)
    assert (data.num_train, data.num_val) == (284, 72)
    assert state(root) == before

    coco = json.loads((root / 'val.json').read_text())
    (root / 'val.json').write_text(json.dumps({**coco, 'images': [], 'annotations': []}))
    assert [str(finding) for finding in check_data(root).of('fatal')] == ['val.json: has no images']


def test_the_splits_by_their_former_name(make):
    report = check_data(make())
    with pytest.warns(DeprecationWarning, match=r'DataReport\.parts was renamed to DataReport\.splits'):
        assert report.parts is report.splits
