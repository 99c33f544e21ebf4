"""Conversion of public sets: hand-worked boxes, and the recorded hashes from reconstructed sources."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.datasets.public.conversion import as_coco, chosen, convert, shrunk
from mmcnn.datasets.public.rows import PublicSet, public_set
from mmcnn.datasets.public.sources import SourceBox, SourceImage
from mmcnn.errors import DataError, UsageError

SHARED = Path(__file__).resolve().parents[4] / 'shared' / 'data'
#: Sets whose images were reduced: their size -> that of the source; tables has many sizes, which are searched for.
PUBLISHED = {'cards': {(336, 448): (378, 504), (448, 252): (960, 540)}, 'hituav': {(512, 410): (640, 512)}}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The source of three images with the layout of the tables set."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'clone' / 'table-detection-dataset-master'
    (root / 'images').mkdir(parents=True)
    noise = np.random.default_rng(0)
    for stem in 'abc':
        Image.fromarray(noise.integers(0, 255, (900, 1200, 3), dtype=np.uint8)).save(root / f'images/{stem}.png')
    (root / 'train.csv').write_text('b.png,100,200,300,400,table\na.png,10,20,1300,400,table\na.png,5,5,5,9,table\n')
    (root / 'val.csv').write_text('c.png,0,0,1200,900,table\n')
    return root


def test_a_clone_becomes_a_data_folder(tables, tmp_path):
    out = tmp_path / 'out'
    conversion = convert(public_set('tables'), tables.parent, out)
    train = json.loads((out / 'train.json').read_text())
    assert [(image['file_name'], image['width'], image['height']) for image in train['images']] == [
        ('a.jpg', 576, 432), ('b.jpg', 576, 432),
    ]  # fmt: skip
    # The scale is 0.48; x2 is clipped at 1200.
    assert [box['bbox'] for box in train['annotations']] == [[4.8, 9.6, 571.2, 182.4], [48.0, 96.0, 96.0, 96.0]]
    assert (conversion.images, conversion.boxes, conversion.dropped) == (dict(train=2, val=1), dict(train=2, val=1), 1)
    assert conversion.matches == dict(train=False, val=False)
    assert 'train.json does not have the recorded SHA-256' in str(conversion)
    assert Image.open(out / 'images/a.jpg').size == (576, 432)
    assert check_data(out).ok


@pytest.mark.parametrize('form', ['zip', 'gztar'])
def test_an_archive_is_unpacked(tables, tmp_path, form):
    archive = shutil.make_archive(str(tmp_path / 'source'), form, tables.parent)
    assert convert(public_set('tables'), archive, tmp_path / 'out').images == dict(train=2, val=1)


def test_upright_jpegs_are_copied(tmp_path):
    path = tmp_path / 'x.jpg'
    Image.new('RGB', (40, 20)).save(path)
    row = PublicSet(
        name='x', shows='', source='', licence='', size='', marker='x.jpg',
        read=lambda root: {'train': [SourceImage(root / 'x.jpg', ())], 'val': []},
    )  # fmt: skip
    conversion = convert(row, tmp_path, tmp_path / 'out')
    assert (tmp_path / 'out/images/x.jpg').read_bytes() == path.read_bytes()
    assert conversion.matches is None and 'not verified' in str(conversion)


def test_what_cannot_be_converted(tables, tmp_path):
    with pytest.raises(UsageError, match=r'^openimages cannot be converted by mmcnn'):
        convert(public_set('openimages'), tables, tmp_path / 'out')
    with pytest.raises(DataError, match=r'has no PCBData: it is not a copy of https://github\.com/tangsanli5201'):
        convert(public_set('deeppcb'), tables, tmp_path / 'out')
    with pytest.raises(DataError, match=r'nowhere does not exist; give a clone or an archive of'):
        convert(public_set('deeppcb'), tmp_path / 'nowhere', tmp_path / 'out')
    with pytest.raises(UsageError, match='is not an empty folder'):
        convert(public_set('tables'), tables, tables)


def test_images_that_were_drawn_are_needed():
    splits = {'train': [SourceImage(Path('00041000_test.jpg'), ())], 'val': []}
    with pytest.raises(DataError, match='1 of the 320 images sampled for train; the first'):
        chosen(public_set('deeppcb'), splits, whole=False)
    assert chosen(public_set('deeppcb'), splits, whole=True) is splits


@pytest.mark.parametrize('name', ['bccd', 'cards', 'deeppcb', 'hituav', 'tables'])
def test_recorded_hashes(name):
    """The annotations converted from a reconstructed source are byte-for-byte equal to the recorded ones."""
    if not (SHARED / name).is_dir():
        pytest.skip('the set is not here')
    row, splits, sizes = public_set(name), {}, {}
    for split in ('train', 'val'):
        content = (SHARED / name / f'{split}.json').read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256[split]
        splits[split] = put_together(name, json.loads(content), row.long_side, sizes)
    cocos, dropped = as_coco(row, chosen(row, splits, whole=False), sizes.__getitem__)
    assert dropped == 0
    assert {split: hashlib.sha256(json.dumps(coco).encode()).hexdigest() for split, coco in cocos.items()} == row.sha256


def put_together(name, coco, long_side, sizes):
    """Return source images whose integer corners convert to these boxes, reordered; add their sizes to ``sizes``."""
    names = {each['id']: each['name'] for each in coco['categories']}
    images = []
    for image in coco['images']:
        size = (image['width'], image['height'])
        boxes = [each for each in coco['annotations'] if each['image_id'] == image['id']]
        before = PUBLISHED.get(name, {}).get(size)
        if before is None:
            before = size if long_side is None else published_size(size, [each['bbox'] for each in boxes], long_side)
        scales = np.divide(size, before)
        path = Path(image['file_name'])
        sizes[path] = (*before, *size)
        images.append(SourceImage(path, tuple(
            SourceBox(names[each['category_id']], whole_corners(each['bbox'], scales), bool(each['iscrowd']))
            for each in boxes
        )))  # fmt: skip
    return images[::-1]


def whole_corners(bbox, scales):
    x, y, w, h = bbox
    return (*np.round([x, y] / scales).tolist(), *np.round([x + w, y + h] / scales).tolist())


def published_size(size, boxes, long_side):
    """Return a size at which all corners are integers."""

    def fits(axis, length):
        scale = size[axis] / length
        for box in boxes:
            low, high = round(box[axis] / scale), round((box[axis] + box[axis + 2]) / scale)
            start = round(low * scale, 2)
            if abs(start - box[axis]) > 1e-9 or abs(round(high * scale - start, 2) - box[axis + 2]) > 1e-9:
                return False
        return True

    def nearly(axis):
        scales = size[axis] / (every := np.arange(2400, 4500))
        corners = np.array([end for box in boxes for end in (box[axis], box[axis] + box[axis + 2])])[:, None]
        return every[(np.abs(np.round(corners / scales) * scales - corners) < 0.011).all(0)].tolist()

    lengths = [[each for each in nearly(axis) if fits(axis, each)] for axis in (0, 1)]
    return next(
        (width, height)
        for width in lengths[0]
        for height in lengths[1]
        if shrunk(width, height, long_side) == tuple(size)
    )
