"""Label files of YOLO folders: their places and variants, compared with hand-worked boxes."""

import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.datasets.folders.yolo_labels import label_places

LINE = '0 0.5 0.5 0.25 0.5\n'
BOX = [15, 5, 10, 10]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write images/train/a.png and images/val/b.png of 40 x 20 pixels, and the given label files."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(labels, names='[cat, traffic light]'):
        root = tmp_path / 'data'
        for i, name in enumerate(('train/a', 'val/b')):
            (root / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (40, 20), (80 * i, 0, 0)).save(root / 'images' / f'{name}.png')
        for name, content in labels.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        (root / 'data.yaml').write_text(f'train: images/train\nval: images/val\nnames: {names}\n')
        return root

    return write


def both(line):
    return {'labels/train/a.txt': line, 'labels/val/b.txt': line}


def boxes(report):
    return [[each['bbox'] for each in split.coco['annotations']] for split in report.splits]


def test_places_of_labels(tmp_path):
    image = tmp_path / 'images' / 'train' / 'a.b.png'
    assert label_places(image) == [
        tmp_path / 'labels' / 'train' / 'a.b.txt', tmp_path / 'images' / 'train' / 'a.b.txt',
    ]  # fmt: skip
    assert label_places(tmp_path / 'Images' / 'a.png')[:2] == [
        tmp_path / 'labels' / 'a.txt', tmp_path / 'Labels' / 'a.txt',
    ]  # fmt: skip
    assert label_places(tmp_path / 'pictures' / 'a.png') == [tmp_path / 'pictures' / 'a.txt']


def test_labels_beside_images_are_read(make):
    report = check_data(make({'images/train/a.txt': LINE, 'labels/val/b.txt': LINE}))
    assert boxes(report) == [[pytest.approx(BOX)], [pytest.approx(BOX)]]
    assert report.of('fatal', 'error', 'note') == []
    assert '1 image (0 without a label file), 1 box' in report.title()


def test_the_report_says_how_many_images_have_no_labels(make):
    report = check_data(make({'labels/val/b.txt': LINE}))
    assert 'data.yaml (train): 1 image (1 without a label file), 0 boxes' in report.title()
    (note,) = report.of('note')
    assert str(note) == (
        'data.yaml (train): no label file for 1 of 1 image, which are used without objects, the first is '
        'images/train/a.png, which has no labels/train/a.txt or images/train/a.txt'
    )
    assert '(0 without a label file)' in check_data(make({'labels/train/a.txt': b''})).title()  # an empty file counts


def test_of_two_label_files_that_differ_the_one_that_is_read_is_said(make):
    other = '0 0.25 0.5 0.25 0.5\n'
    report = check_data(make({**both(LINE), 'images/train/a.txt': other, 'images/val/b.txt': LINE}))
    assert boxes(report)[0] == [pytest.approx(BOX)]
    assert [str(note) for note in report.of('note')] == [
        'data.yaml (train): 1 image with two label files that differ: labels/train/a.txt is used, '
        'images/train/a.txt is not'
    ]


def test_text_files_of_no_image_are_named(make):
    extra = {
        'labels/train/z.txt': LINE,
        'images/val/y.txt': LINE,
        'labels/val/b.TXT': LINE,
        'labels/train/classes.txt': '',
    }
    root = make({'labels/train/a.txt': LINE, **extra})
    findings = [str(each) for each in check_data(root).of('warning') if each.kind == 'annotation without an image']
    assert findings == [
        'labels/train/z.txt: there is no image with this name',
        'images/val/y.txt: there is no image with this name',
        'labels/val/b.TXT: is ignored: label files end in .txt, not in .TXT',
    ]


@pytest.mark.parametrize(
    ('line', 'note'),
    [
        (LINE, None),
        ('0\t0.5\t0.5  0.25 \t0.5\r\n\r\n', None),
        ('\ufeff' + LINE, None),
        ('0,0.5,0.5,0.25,0.5', 'commas between numbers'),
        ('0, 0.5, 0.5, 0.25, 0.5,', 'commas between numbers'),
        ('0 0.5,0.5 0.25,0.5', 'commas between numbers'),
        ('0 0.5 0.5 0.25 0.5 0.91', 'a sixth number, read as a score and ignored'),
        ('0 0.5 0.5 0.25 0.5 1', 'a sixth number, read as a score and ignored'),
        ('cat 0.5 0.5 0.25 0.5', 'the name of a class instead of its number'),
        ('traffic light 0.5 0.5 0.25 0.5', 'the name of a class instead of its number'),
    ],
)
def test_variants_that_can_only_mean_one_thing(make, line, note):
    report = check_data(make(both(line)))
    assert boxes(report) == [[pytest.approx(BOX)]] * 2
    assert report.splits[0].coco['annotations'][0]['category_id'] == line.startswith('traffic')
    assert [str(each) for each in report.of('note')] == [
        f'data.yaml ({split}): 1 line with {note}, the first is labels/{split}/{name}.txt:1'
        for split, name in (('train', 'a'), ('val', 'b'))
        if note
    ]
    assert report.of('error', 'fatal') == []


@pytest.mark.parametrize(
    ('line', 'text'),
    [
        ('0 20 10 10 10', 'has values above 1, perhaps pixels; YOLO format needs fractions of the width and height'),
        ('0 5 5 20 5 20 15', 'has values above 1, perhaps pixels;'),
        ('0 0,5 0,5 0,25 0,5', 'has commas that may be decimal points'),
        ('0,20,10,10,10', 'has commas that may be decimal points'),
        ('0 0.5 0.5 0.25 0.5 17', 'not a score from 0 to 1'),
        ('traffic lights 0.5 0.5 0.25 0.5', "no class has the name 'traffic lights', did you mean traffic light?"),
    ],
)
def test_variants_that_are_refused_with_their_cause(make, line, text):
    report = check_data(make({'labels/train/a.txt': LINE + line, 'labels/val/b.txt': LINE}))
    (finding,) = report.of('error', 'fatal')
    assert (finding.kind, finding.file) == ('unreadable annotation', 'labels/train/a.txt:2')
    assert text in finding.text


def test_classes_that_count_from_one(make):
    root = make({'labels/train/a.txt': '1 .5 .5 .2 .2\n', 'labels/val/b.txt': '2 .5 .5 .2 .2\n'})
    report = check_data(root)
    (finding,) = report.of('fatal')
    assert str(finding) == (
        'data.yaml: class ids run from 1 to 2, but YOLO counts from 0: those of the 2 names are 0 to 1; subtract 1 '
        'from each id, or add the name of class 2'
    )
    (root / 'labels' / 'val' / 'b.txt').write_text('0 .5 .5 .2 .2\n2 .5 .5 .2 .2\n')  # now it is one wrong box
    assert [each.kind for each in check_data(root).of('fatal', 'error')] == ['unknown category']
