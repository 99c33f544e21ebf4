"""Drawn validation images: duplicates stay together, all runs share a draw, and only folders without val need it."""

import json
import shutil

import pytest
from PIL import Image

from mmcnn.datasets import check_data
from mmcnn.datasets.check.detector import check_folder
from mmcnn.datasets.check.drawn_split import Draw
from mmcnn.errors import DataError

DRAW = Draw(0.25, 3)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """annotations.json with eight images of two boxes each; 1.png to 3.png have the same content."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return write(tmp_path / 'data')


def write(root, count=8):
    (root / 'images').mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new('RGB', (40, 30), (0 if i in (1, 2, 3) else 20 * i + 10, 0, 0)).save(root / 'images' / f'{i}.png')
    images = [dict(id=i + 1, file_name=f'{i}.png', width=40, height=30) for i in range(count)]
    annotations = [
        dict(id=2 * image['id'] + j, image_id=image['id'], category_id=j, bbox=[1, 2, 10, 9], area=90, iscrowd=0)
        for image in images
        for j in (0, 1)
    ]
    categories = [dict(id=0, name='cat'), dict(id=1, name='dog')]
    (root / 'annotations.json').write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )
    return root


def names(report):
    """Return the file names of each split."""
    return {split.name: {image['file_name'] for image in split.coco['images']} for split in report.splits}


def test_without_a_draw_the_error_names_the_option(root):
    with pytest.raises(DataError, match=r'has annotations\.json, but no validation images: --val-fraction 0\.2 draws'):
        check_data(root)


def test_both_splits_have_all_images_and_their_boxes(root):
    report = check_data(root, draw=DRAW)
    parts = names(report)
    assert parts['train'] | parts['val'] == {f'{i}.png' for i in range(8)}
    assert not parts['train'] & parts['val']
    assert len(parts['val']) in (2, 3, 4)  # a quarter, or more with duplicates
    for split in report.splits:
        ids = {image['id'] for image in split.coco['images']}
        assert [each['image_id'] for each in split.coco['annotations']] == sorted([*ids, *ids])
    assert report.of('fatal', 'error', 'warning') == []
    (note,) = report.of('note')
    assert (
        f'{len(parts["val"])} of 8 images are for validation, drawn with val_fraction=0.25 and split_seed=3'
        in note.text
    )
    data = report.usable()
    assert (data.num_train, data.num_val) == (len(parts['train']), len(parts['val']))
    assert {image['file_name'] for image in json.loads((root / data.files['val'][0]).read_bytes())['images']} == (
        parts['val']
    )
    assert not [path for path in root.rglob('*') if 'split' in path.name]  # the user's folder is unchanged


def test_copies_are_on_the_same_side_whatever_is_drawn(root):
    sides = set()
    for seed in range(12):
        val = names(check_data(root, draw=Draw(0.25, seed)))['val']
        assert len(val & {'1.png', '2.png', '3.png'}) in (0, 3)
        sides.add(frozenset(val))
    assert len(sides) > 4  # the seed matters


def test_a_draw_is_used_again_when_images_come_and_go(root):
    first = names(check_data(root, draw=DRAW))
    again = check_data(root, draw=DRAW)
    assert names(again) == first
    assert 'drawn before' in again.of('note')[0].text
    write(root, 12)
    shutil.copy(root / 'images' / sorted(first['val'])[0], root / 'images' / '11.png')
    (root / 'images' / sorted(first['train'])[0]).unlink()
    later = check_data(root, draw=DRAW)
    assert names(later)['val'] == first['val'] | {'11.png'}  # a duplicate of a validation image
    assert '; 4 images were added later' in later.of('note')[0].text
    assert [each.kind for each in later.of('error')] == ['missing image']


def test_the_same_draw_elsewhere(root, tmp_path, monkeypatch):
    first = check_data(root, draw=DRAW)
    shutil.copytree(root, tmp_path / 'moved')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'other'))
    moved = check_data(tmp_path / 'moved', draw=DRAW)
    assert (names(moved), moved.drawn) == (names(first), first.drawn)
    assert check_data(root, draw=Draw(0.5, 3)).drawn.held_out != first.drawn.held_out


def test_only_val(root):
    both, val = check_data(root, draw=DRAW), check_data(root, ('val',), draw=DRAW)
    assert names(val) == {'val': names(both)['val']}
    assert val.usable().classes == ('cat', 'dog')
    assert 'are for validation' in val.of('note')[0].text


def test_where_it_is_refused(root, shape_classes):
    (root / 'train.json').write_bytes((root / 'annotations.json').read_bytes())
    (root / 'val.json').write_bytes((root / 'annotations.json').read_bytes())
    with pytest.raises(DataError, match=r'val_fraction=0\.25: \S+ already has validation images'):
        check_data(root, draw=DRAW)
    with pytest.raises(
        DataError, match=r'val_fraction=0\.25: \S+ is the data folder of a classifier, which is always valid'
    ):
        check_folder(shape_classes, draw=DRAW)


def test_too_few_images(root):
    write(root, 1)
    with pytest.raises(DataError, match=r'annotations\.json has only 1 different image: none can be held out'):
        check_data(root, draw=DRAW)


def test_a_cache_folder_that_cannot_be_written(root, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(DataError, match=r'cannot write .*It stores which images are for validation'):
        check_data(root, draw=DRAW)


def test_boxes_without_an_image_and_broken_entries_are_reported(root):
    coco = json.loads((root / 'annotations.json').read_text())
    coco['images'] += [None, dict(id=99)]
    coco['annotations'] += [None, dict(coco['annotations'][0], id=900, image_id=12345), dict(id=901, image_id={})]
    (root / 'annotations.json').write_text(json.dumps(coco))
    report = check_data(root, draw=DRAW)
    kinds = [each.kind for each in report.of('error')]
    assert {'bad id', 'unknown image', 'bad image entry'} <= set(kinds)
    assert {each.split for each in report.of('error')} == {'train'}


@pytest.mark.parametrize('labelled', [True, False])
def test_yolo_data_without_val(tmp_path, monkeypatch, labelled):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    for i in range(6):
        Image.new('RGB', (40, 30), (20 * i, 0, 0)).save(root / 'images' / f'{i}.png')
        if i or labelled:
            (root / 'labels' / f'{i}.txt').write_text('0 0.5 0.5 0.2 0.2\n')
    (root / 'data.yaml').write_text('train: images\nnames: [cat]\n')
    report = check_data(root, draw=Draw(0.5))
    assert [split.title for split in report.splits] == ['data.yaml (train)', 'data.yaml (val)']
    assert sum(split.num_unlabelled for split in report.splits) == (not labelled)
    for split in report.splits:
        images = {image['id']: image['file_name'] for image in split.coco['images']}
        stems = [images[each['image_id']][7:-4] for each in split.coco['annotations']]
        assert [place.partition('.')[0] for place in split.places] == [f'labels/{stem}' for stem in stems]


def test_images_that_share_an_id_are_found_whatever_is_drawn(root):
    coco = json.loads((root / 'annotations.json').read_text())
    coco['images'][6]['id'] = coco['images'][5]['id']
    coco['annotations'] = [each for each in coco['annotations'] if each['image_id'] != 7]
    (root / 'annotations.json').write_text(json.dumps(coco))
    for seed in range(8):
        report = check_data(root, draw=Draw(0.25, seed))
        assert [each.kind for each in report.of('error')] == ['duplicate id']


def test_without_a_draw_all_images_can_be_evaluated_on(root):
    report = check_data(root, ('val',))
    assert names(report) == {'val': {f'{i}.png' for i in range(8)}}
    assert [note.text for note in report.of('note')] == ['all 8 images are evaluated: the folder has no splits']
    assert report.usable().num_val == 8
