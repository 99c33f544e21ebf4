"""YOLO folders, compared with hand-worked boxes and hotcoco's converter."""

import json
import shutil
import time

import hotcoco
import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.datasets.folders.yolo import _without_image
from mmcnn.errors import DataError


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write images/ and labels/ of both splits: two training images and one validation image of 40 x 20 pixels."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(settings='train: images/train\nval: images/val\nnames: [cat]\n', labels='0 0.5 0.5 0.25 0.5\n'):
        root = tmp_path / 'data'
        for i, name in enumerate(('train/a', 'train/b', 'val/ü c')):
            for folder in ('images', 'labels'):
                (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (40, 20), (80 * i, 0, 0)).save(root / 'images' / f'{name}.png')
            if name != 'train/b':  # it has no objects
                (root / 'labels' / f'{name}.txt').write_text(labels)
        (root / 'data.yaml').write_text(settings, encoding='utf-8')
        return root

    return write


def faults(report):
    """Return the findings other than notes."""
    return report.of('fatal', 'error', 'warning')


def notes(report):
    """Return the notes except for those about missing label files, which each folder here has."""
    return [str(each) for each in report.of('note') if 'no label file' not in each.text]


def test_boxes_and_polygons(make):
    settings = "train: images/train\nval: images/val\nnames: [cat, '1']\n"
    report = check_data(make(settings, '0 0.5 0.5 0.25 0.5\n\n1.0 0.1 0.2 0.3 0.2 0.2 0.9\n'))
    assert faults(report) == notes(report) == []
    train, val = (split.coco for split in report.splits)
    assert [image['file_name'] for image in train['images']] == ['images/train/a.png', 'images/train/b.png']
    assert [(each['width'], each['height']) for each in train['images']] == [(40, 20)] * 2
    assert [(each['image_id'], each['category_id'], each['iscrowd']) for each in train['annotations']] == [
        (0, 0, 0), (0, 1, 0),
    ]  # fmt: skip
    assert train['annotations'][0]['bbox'] == pytest.approx([15, 5, 10, 10])
    assert train['annotations'][1]['bbox'] == pytest.approx([4, 4, 8, 14])  # encloses the three points
    assert [each['area'] for each in train['annotations']] == pytest.approx([100, 112])
    assert val['images'][0]['file_name'] == 'images/val/ü c.png'
    data = report.usable()
    assert (data.classes, data.num_train, data.num_val) == (('cat', '1'), 2, 1)
    assert (data.files['train'][1], data.files['val'][1]) == ('', '')
    assert json.loads((data.root / data.files['train'][0]).read_bytes())['annotations'] == train['annotations']


def test_the_same_boxes_as_another_library_writes(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    for name in ('train', 'val'):
        coco = hotcoco.COCO(str(shapes / f'{name}.json'))
        coco.to_yolo(str(root / 'labels' / name))
        (root / 'images' / name).mkdir(parents=True)
        for image in coco.dataset['images']:
            shutil.copy(shapes / 'images' / image['file_name'], root / 'images' / name)
    names = (root / 'labels' / 'train' / 'data.yaml').read_text()
    (root / 'data.yaml').write_text(f'{names}\ntrain: images/train\nval: images/val\n')
    report = check_data(root)
    assert report.classes == ('circle', 'square', 'triangle')
    for split in report.splits:
        expected = json.loads((shapes / f'{split.name}.json').read_text())
        order = [category['id'] for category in expected['categories']]
        files = {image['id']: image['file_name'] for image in expected['images']}
        wanted = [(files[a['image_id']], order.index(a['category_id']), a['bbox']) for a in expected['annotations']]
        files = {image['id']: image['file_name'].rpartition('/')[2] for image in split.coco['images']}
        got = [(files[a['image_id']], a['category_id'], a['bbox']) for a in split.coco['annotations']]
        wanted, got = sorted(wanted), sorted(got)
        assert [each[:2] for each in got] == [each[:2] for each in wanted]
        for (_, _, box), (_, _, other) in zip(got, wanted, strict=True):
            assert box == pytest.approx(other, abs=0.01)


def test_boxes_refer_to_the_rotated_picture(make):
    root = make()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 20)).save(root / 'images' / 'train' / 'a.png', exif=exif)
    train = check_data(root).parts[0].coco
    assert (train['images'][0]['width'], train['images'][0]['height']) == (20, 40)
    assert train['annotations'][0]['bbox'] == pytest.approx([7.5, 10, 5, 20])


@pytest.mark.parametrize(
    'settings',
    [
        'train: [images/train]\nval: ./images/val\nnames: {0: cat, 1: dog}\nnc: 2\n',
        'path: .\ntrain: images/train/\nval: images/val\nnames: [cat, dog]\n',
        'path: /another/machine\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n',
        'train: ../images/train\nval: ../images/val\nnames: [cat, dog]\n',
        'train: list.txt\nval: images/val\nnames: [cat, dog]\n',
    ],
)
def test_ways_to_name_the_pictures(make, settings):
    root = make(settings)
    (root / 'list.txt').write_text('./images/train/b.png\n\nimages/train/a.png\n')
    data = check_data(root).usable()
    assert (data.classes, data.num_train, data.num_val) == (('cat', 'dog'), 2, 1)


def test_labels_beside_folders_of_each_part(make):
    root = make('train: ../train/images\nval: ../valid/images\nnames: [cat]\n')
    for part, name in (('train', 'train'), ('val', 'valid')):
        (root / name).mkdir()
        for folder in ('images', 'labels'):
            (root / folder / part).rename(root / name / folder)
    report = check_data(root)
    assert faults(report) == notes(report) == []
    assert [len(split.coco['annotations']) for split in report.splits] == [1, 1]


def test_pictures_outside_of_the_folder(make, tmp_path):
    root = make()
    (root / 'images').rename(tmp_path / 'images')
    (root / 'labels').rename(tmp_path / 'labels')
    (root / 'data.yaml').write_text(f'train: {tmp_path}/images/train\nval: ../images/val\nnames: [cat]\n')
    report = check_data(root)
    assert faults(report) == notes(report) == []
    assert report.splits[1].coco['images'][0]['file_name'] == str(tmp_path / 'images' / 'val' / 'ü c.png')


@pytest.mark.parametrize(
    ('line', 'kind', 'text'),
    [
        ('0 0.5 0.5 0.2', 'unreadable annotation', '"0 0.5 0.5 0.2" is not a class, counted from 0, and 4 numbers or'),
        (
            '0 0.5 0.5 0.2 0.2 1.9',
            'unreadable annotation',
            'has a number after its box that is not a score from 0 to 1',
        ),
        ('0 .1 .2 .3 .4 .5 .6 .7', 'unreadable annotation', 'is not a class'),
        ('0 .1 .2 .3 .4 .5 nan', 'unreadable annotation', 'is not a class'),
        ('cats 0.5 0.5 0.2 0.2', 'unreadable annotation', "no class has the name 'cats', did you mean cat?"),
        ('0.5 0.5 0.5 0.2 0.2', 'unreadable annotation', 'is not a class'),
        ('-1 0.5 0.5 0.2 0.2', 'unreadable annotation', 'is not a class'),
        ('inf 0.5 0.5 0.2 0.2', 'unreadable annotation', 'is not a class'),
        ('1 0.5 0.5 0.2 0.2', 'unknown category', 'the box has category_id 1, which is not defined'),
        ('0 nan 0.5 0.2 0.2', 'bad box', 'four finite numbers'),
        ('0 0.5 0.5 0 0.2', 'box of zero area', 'the box has bbox [20.0, 8.0, 0.0, 4.0] without area'),
        ('0 1.5 0.5 0.2 0.2', 'box outside the image', 'outside the image of 40 x 20 px, images/train/a.png'),
        (
            '0 20 10 8 4',
            'unreadable annotation',
            '"0 20 10 8 4" has values above 1, perhaps pixels; YOLO format needs fractions',
        ),
    ],
)
def test_faults_name_file_and_line(make, line, kind, text):
    root = make()
    (root / 'labels' / 'train' / 'a.txt').write_text(f'0 0.5 0.5 0.25 0.5\n{line}\n')
    report = check_data(root)
    (finding,) = faults(report)
    assert (finding.kind, finding.file) == (kind, 'labels/train/a.txt:2')
    assert text in finding.text
    file = report.usable(skip_bad=True).files['train'][0]
    assert len(json.loads((root / file).read_bytes())['annotations']) == 1


def test_labels_that_are_no_text_and_labels_without_a_picture(make):
    root = make()
    (root / 'labels' / 'val' / 'ü c.txt').write_bytes(b'\xff\xfe')
    (root / 'labels' / 'train' / 'classes.txt').write_text('cat\n')
    (root / 'labels' / 'train' / 'z.txt').write_text('0 0.5 0.5 0.25 0.5\n')
    (root / 'images' / 'train' / 'b.png').write_bytes(b'')
    findings = faults(check_data(root))
    assert [(each.kind, each.severity, each.file) for each in findings] == [
        ('annotation without an image', 'warning', 'labels/train/z.txt'),
        ('unreadable annotation', 'error', 'labels/val/ü c.txt'),
        ('unreadable image', 'error', 'images/train/b.png'),
        ('nothing to measure', 'warning', 'data.yaml (val)'),
    ]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ('train: [', r'data\.yaml is not valid YAML: .*line 1'),
        ('', r'data\.yaml has names: None; it must be the names of the classes'),
        ('names: cat', "has names: 'cat'"),
        ('names: {1: cat, 2: dog}', 'has names: .*0: NAME, 1: NAME'),
        ('names: [cat]\nnc: 2', 'has nc: 2, but 1 names'),
        (
            'names: [cat]\ntrain: 5',
            'has train: 5; it must be the folder of the images, for example images/train',
        ),
        ('names: [cat]\ntrain: ', 'has train: None'),
        ('names: [cat]\ntrain: nowhere', r'has train: nowhere, but \S+nowhere does not exist'),
        (
            'names: [cat]\ntrain: images/train',
            r'data\.yaml \(train\), but no validation images: --val-fraction',
        ),
    ],
)
def test_settings_that_cannot_be_used(make, settings, message):
    with pytest.raises(DataError, match=message):
        check_data(make(settings))


def test_a_list_of_a_folder_that_is_not_unpacked_is_not_read_from_another(make):
    root = make('train: images/train\nval: val.txt\nnames: [cat]\n')
    (root / 'val.txt').write_text('images/val/a.png\nimages/val/b.png\n')
    shutil.rmtree(root / 'images' / 'val')
    assert {(each.kind, each.file) for each in faults(check_data(root)) if each.severity == 'error'} == {
        ('missing image', 'images/val/a.png'),
        ('missing image', 'images/val/b.png'),
    }


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (
            'images/train/a.png',
            r'has train: images/train/a\.png, which is an image; it must be a folder of images, or a',
        ),
        ('a' * 300, 'has train: a+, but .* does not exist'),
        ('../elsewhere/images', r'has train: \.\./elsewhere/images, but .* does not exist'),  # images/ contains val
        ('/x/images/val/deep', 'does not exist'),  # within the validation folder
    ],
)
def test_places_that_are_none(make, entry, message):
    root = make(f'train: {entry}\nval: images/val\nnames: [cat]\n')
    (root / 'images' / 'val' / 'deep').mkdir()
    with pytest.raises(DataError, match=message):
        check_data(root)


def test_labels_above_the_data_folder_do_not_win_over_those_beside(tmp_path, make):
    (make()).rename(tmp_path / 'set')
    root = tmp_path / 'images' / 'set'
    (tmp_path / 'set').rename(root.parent.mkdir() or root)
    (root / 'images').rename(root / 'pictures')
    shutil.copy(root / 'labels' / 'train' / 'a.txt', root / 'pictures' / 'train' / 'a.txt')
    other = tmp_path / 'labels' / 'set' / 'pictures' / 'train' / 'a.txt'
    other.parent.mkdir(parents=True)
    other.write_text('0 0.5 0.5 1 1\n' * 3)
    (root / 'data.yaml').write_text('train: pictures/train\nval: pictures/val\nnames: [cat]\n')
    assert len(check_data(root).splits[0].coco['annotations']) == 1


def test_orphans_are_found_in_time_that_grows_with_the_number_of_folders(tmp_path):
    files = [tmp_path / f'{i}' / 'images' / 'x.png' for i in range(3000)]
    split = DataSplit('train', 'data.yaml (train)', tmp_path, '', dict(images=[], annotations=[], categories=[]))
    start = time.process_time()
    assert _without_image(split, files, []) == []
    assert time.process_time() - start < 2  # comparing each folder with each takes 8 s
