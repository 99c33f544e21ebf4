"""Pascal VOC folders, compared with hand-worked boxes and hotcoco's converter."""

import json

import hotcoco
import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.errors import DataError

SIZE = '<size><width>40</width><height>20</height><depth>3</depth></size>'


def thing(name='cat', box=(1, 1, 10, 20), extra=''):
    corners = ''.join(
        f'<{side}>{value}</{side}>' for side, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True)
    )
    return f'<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>'


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write training images a and b and validation image c; the argument ``a`` is the content of a's annotations."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(a=SIZE, sets=(('train', 'a\nb\n'), ('val', 'c\n'))):
        root = tmp_path / 'data'
        for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
            (root / folder).mkdir(parents=True)
        for i, (stem, content) in enumerate(
            {'a': a, 'b': SIZE + thing('zèbre') + thing(), 'c': SIZE + thing()}.items()
        ):
            Image.new('RGB', (40, 20), (80 * i, 0, 0)).save(root / 'JPEGImages' / f'{stem}.png')
            text = f'<annotation><filename>{stem}.png</filename>{content}</annotation>'
            (root / 'Annotations' / f'{stem}.xml').write_text(text, encoding='utf-8')
        for name, stems in sets:
            (root / 'ImageSets' / 'Main' / f'{name}.txt').write_text(stems)
        return root

    return write


def test_boxes_classes_and_sets(make):
    root = make(SIZE + thing('zèbre', (5, 6.5, 14, 15), '<difficult>1</difficult>') + thing('cat', (1, 1, 40, 20)))
    report = check_data(root)
    assert [finding.kind for finding in report.findings] == ['crowd boxes', 'class without a box']
    assert report.findings[0].text == '1 of 4 boxes are difficult (difficult is 1) and are not trained on'
    train, val = (split.coco for split in report.splits)
    assert [image['file_name'] for image in train['images']] == ['a.png', 'b.png']
    assert [(each['category_id'], each['bbox'], each['iscrowd'], each['area']) for each in train['annotations']] == [
        (1, [4, 5.5, 10, 9.5], 1, 95), (0, [0, 0, 40, 20], 0, 800),
        (1, [0, 0, 10, 20], 0, 200), (0, [0, 0, 10, 20], 0, 200),
    ]  # fmt: skip
    assert [image['file_name'] for image in val['images']] == ['c.png']
    data = report.usable()
    assert (data.classes, data.num_train, data.num_val) == (('cat', 'zèbre'), 2, 1)
    assert data.files['train'][1] == 'JPEGImages/'


def test_the_same_as_another_library_reads(make):
    root = make(SIZE + thing('dog', (3, 4, 30, 17), '<difficult>1</difficult>') + thing('cat', (2, 2, 9, 9)))
    peer = hotcoco.COCO.from_voc(str(root)).dataset
    names = {category['id']: category['name'] for category in peer['categories']}
    files = {image['id']: image['file_name'] for image in peer['images']}
    wanted = [(files[a['image_id']], names[a['category_id']], a['bbox'], a['iscrowd']) for a in peer['annotations']]
    report = check_data(root)
    got = [
        (split.coco['images'][a['image_id']]['file_name'], report.classes[a['category_id']], a['bbox'], a['iscrowd'])
        for split in report.splits
        for a in split.coco['annotations']
    ]
    assert sorted(got) == sorted(wanted)
    assert len(got) == 5


def test_other_names_of_the_sets(make):
    report = check_data(make(sets=(('trainval', 'a\n\nb \na\n'), ('test', 'c'))))
    data = report.usable()
    assert (data.num_train, data.num_val) == (2, 1)
    assert report.splits[0].title == 'ImageSets/Main/trainval.txt'
    assert check_data(data.root, ('val',)).usable().classes == data.classes


def test_missing_sets(make):
    root = make(sets=(('val', 'a'),))
    with pytest.raises(
        DataError, match=r'Main has no training set: it needs train\.txt and val\.txt, or trainval\.txt and'
    ):
        check_data(root)
    (root / 'ImageSets' / 'Main' / 'val.txt').rename(root / 'ImageSets' / 'Main' / 'train.txt')
    with pytest.raises(DataError, match=r'Main/train\.txt, but no validation images: --val-fraction 0\.2 draws'):
        check_data(root)


@pytest.mark.parametrize('size', ['', '<size><width>0</width><height>0</height></size>'])
def test_sizes_that_are_not_said_are_those_of_the_picture(make, size):
    report = check_data(make(size + thing()))
    image = report.splits[0].coco['images'][0]
    assert (image['width'], image['height']) == (40, 20)
    assert report.of('fatal', 'error') == []


def test_a_size_that_is_not_the_picture_s(make):
    report = check_data(make(SIZE.replace('40', '44') + thing()))
    (finding,) = report.of('error')
    assert str(finding) == 'JPEGImages/a.png: image 0 has 40 x 20 px, but 44 x 20 in the annotations'


@pytest.mark.parametrize(
    ('a', 'kind', 'file', 'text'),
    [
        (SIZE + thing('', (1, 1, 9, 9)), 'unreadable annotation', 'a.xml, object 1', "has the name '' and corners"),
        (SIZE + thing(box=(1, 1, 'x', 9)), 'unreadable annotation', 'a.xml, object 1', 'corners [1.0, 1.0, None, 9.0]'),
        (SIZE + thing(box=(1, 1, 'nan', 9)), 'unreadable annotation', 'a.xml, object 1', 'None, 9.0]; it needs name'),
        (SIZE + '<object><name>cat</name></object>', 'unreadable annotation', 'a.xml, object 1', 'corners [None,'),
        (SIZE + thing(box=(9, 9, 8, 12)), 'box of zero area', 'a.xml, object 1', 'has bbox [8.0, 8.0, 0.0, 4.0]'),
        (SIZE + thing() + thing(box=(41, 1, 44, 9)), 'box outside the image', 'a.xml, object 2', 'outside the image'),
        ('<broken', 'unreadable annotation', 'a.xml', 'is not valid XML: not well-formed'),
    ],
)
def test_faults_name_file_and_object(make, a, kind, file, text):
    (finding,) = check_data(make(a)).of('error')
    assert (finding.kind, finding.file) == (kind, f'Annotations/{file}')
    assert text in finding.text


def test_a_class_that_is_only_in_val(make):
    root = make()
    (root / 'Annotations' / 'c.xml').write_text(f'<annotation>{SIZE}{thing("catt")}{thing()}</annotation>')
    (finding,) = check_data(root).of('error')
    assert str(finding) == (
        "Annotations/c.xml, object 1: has the class 'catt', which no training object has; did you mean cat?"
    )


def test_files_that_cannot_be_read(make):
    root = make()
    bomb = '<!DOCTYPE a [<!ENTITY b "cat">]><annotation><object><name>&b;</name></object></annotation>'
    (root / 'Annotations' / 'a.xml').write_text(bomb)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('a\nb\nd\n')
    report = check_data(root)
    assert [str(finding) for finding in report.of('error')] == [
        'Annotations/a.xml: has a document type, which is not allowed',
        'Annotations/d.xml: does not exist',
    ]
    (root / 'JPEGImages' / 'b.png').unlink()
    (finding,) = [each for each in check_data(root).findings if each.kind == 'missing image']
    assert finding.file == 'JPEGImages/b.jpg'


def test_what_is_bad_is_left_out(make):
    root = make('<broken')
    data = check_data(root).usable(skip_bad=True)
    assert data.num_train == 1
    assert [image['file_name'] for image in json.loads((root / data.files['train'][0]).read_bytes())['images']] == [
        'b.png'
    ]
