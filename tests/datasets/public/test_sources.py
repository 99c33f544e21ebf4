"""The reader of each original layout, with synthetic images and hand-worked numbers."""

import json

import pytest
from PIL import Image

from mmcnn.datasets.public import sources
from mmcnn.datasets.public.sources import SourceBox
from mmcnn.errors import DataError

WIDTH, HEIGHT = 40, 20


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (WIDTH, HEIGHT)).save(path)
    return path


def xml(path, name, corners):
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = ''.join(
        f'<{side}>{value}</{side}>' for side, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True)
    )
    thing = f'<object><name>{name}</name><bndbox>{sides}</bndbox></object>'
    path.write_text(f'<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{thing}</annotation>')


def test_voc_trains_on_trainval_and_validates_on_test(tmp_path):
    for stem, name in (('a', 'cat'), ('b', 'dog'), ('c', 'cat')):
        picture(tmp_path / f'JPEGImages/{stem}.jpg')
        xml(tmp_path / f'Annotations/{stem}.xml', name, (1, 2, 10, 20))
    lists = tmp_path / 'ImageSets/Main'
    lists.mkdir(parents=True)
    for name, text in (('trainval', 'a\nb\n'), ('test', 'c\n'), ('train', 'a\n'), ('val', 'b\n')):
        (lists / f'{name}.txt').write_text(text)
    splits = sources.read_voc(tmp_path)
    assert [image.path.name for image in splits['train']] == ['a.jpg', 'b.jpg']
    assert splits['val'][0].boxes == (SourceBox('cat', (0, 1, 10, 20)),)  # corners count from 1 and are inclusive


def test_xml_beside_the_images(tmp_path):
    for folder, stem in (('train', 'a'), ('test', 'b')):
        picture(tmp_path / f'images/{folder}/{stem}.JPG')
        xml(tmp_path / f'images/{folder}/{stem}.xml', 'ace', (5, 6, 14, 15))
    splits = sources.read_voc_beside(tmp_path)
    assert [[image.path.name for image in images] for images in splits.values()] == [['a.JPG'], ['b.JPG']]
    assert splits['train'][0].boxes == (SourceBox('ace', (4, 5, 14, 15)),)


def test_every_fifth_image_validates_where_there_are_no_splits(tmp_path):
    for number in range(11):
        picture(tmp_path / f'images/{number:02}.jpg')
        xml(tmp_path / f'annots/{number:02}.xml', 'kangaroo', (1, 1, 10, 10))
    splits = sources.read_voc_undivided(tmp_path)
    assert [image.path.stem for image in splits['val']] == ['04', '09'] and len(splits['train']) == 9


def test_an_image_without_its_file_is_named(tmp_path):
    xml(tmp_path / 'images/train/a.xml', 'ace', (5, 6, 14, 15))
    with pytest.raises(DataError, match=r'^a is listed as an image, but has no image$'):
        sources.read_voc_beside(tmp_path)


def test_deeppcb(tmp_path):
    folder = tmp_path / 'PCBData'
    for stem, lists in (('00041000', 'trainval'), ('00041001', 'test')):
        picture(folder / f'group00041/00041/{stem}_test.jpg')
        (folder / 'group00041/00041_not').mkdir(parents=True, exist_ok=True)
        (folder / f'group00041/00041_not/{stem}.txt').write_text('466 441 493 470 3\n454,300,493,396,2\n')
        (folder / f'{lists}.txt').write_text(f'group00041/00041/{stem}.jpg group00041/00041_not/{stem}.txt\n')
    splits = sources.read_deeppcb(tmp_path)
    (image,) = splits['train']
    assert image.path.is_file()
    assert image.boxes == (SourceBox('mousebite', (466, 441, 493, 470)), SourceBox('short', (454, 300, 493, 396)))
    assert len(splits['val']) == 1


@pytest.mark.parametrize('prefix', ['', 'instances_'])
def test_hituav(tmp_path, prefix):
    categories = [dict(id=0, name='Person'), dict(id=1, name='Car'), dict(id=4, name='DontCare')]
    for split in ('train', 'val'):
        picture(tmp_path / f'normal_json/{split}/x.jpg')
        boxes = [dict(image_id=7, category_id=1, bbox=[417, 125, 57, 25]),
                 dict(image_id=7, category_id=4, bbox=[1, 2, 3, 4])]  # fmt: skip
        coco = dict(images=[dict(id=7, filename='x.jpg')], categories=categories, annotations=boxes)
        (tmp_path / 'normal_json/annotations').mkdir(exist_ok=True)
        (tmp_path / f'normal_json/annotations/{prefix}{split}.json').write_text(json.dumps(coco))
    (image,) = sources.read_hituav(tmp_path)['val']
    assert image.path.is_file()
    assert image.boxes == (SourceBox('Car', (417, 125, 474, 150)), SourceBox('Person', (1, 2, 4, 6), crowd=True))


def test_tables(tmp_path):
    picture(tmp_path / 'images/9533_039.png')
    (tmp_path / 'train.csv').write_text('9533_039.png,60,396,1113,2420,table\n9533_039.png,1,2,3,4,table\n')
    (tmp_path / 'val.csv').write_text('')
    splits = sources.read_tables(tmp_path)
    assert [box.corners for box in splits['train'][0].boxes] == [(60, 396, 1113, 2420), (1, 2, 3, 4)]
    assert splits['val'] == []


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r'train\.csv cannot be read: No such file'):
        sources.read_tables(tmp_path)
