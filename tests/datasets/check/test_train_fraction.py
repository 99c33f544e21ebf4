"""A fraction of the training images."""

import json

import pytest

from mmcnn.datasets.check.detector import check_data
from mmcnn.datasets.check.train_fraction import with_fraction


@pytest.fixture(scope='module')
def data(shapes):
    return check_data(shapes, decode=False).usable()


def names(data):
    coco = json.loads((data.root / data.files['train'][0]).read_bytes())
    ids = {image['id'] for image in coco['images']}
    assert {each['image_id'] for each in coco['annotations']} <= ids
    return {image['file_name'] for image in coco['images']}


def test_shares_are_nested_and_of_the_right_size(data):
    whole, half, quarter = names(data), names(with_fraction(data, 0.5)), names(with_fraction(data, 0.25))
    assert (len(whole), len(half), len(quarter)) == (8, 4, 2)
    assert quarter < half < whole
    assert with_fraction(data, 0.5).num_train == 4
    assert len(names(with_fraction(data, 1e-6))) == 1


def test_all_boxes_of_the_images_are_there(data):
    part = with_fraction(data, 0.5)
    whole = json.loads((data.root / data.files['train'][0]).read_bytes())
    coco = json.loads((data.root / part.files['train'][0]).read_bytes())
    ids = {image['id'] for image in coco['images']}
    assert coco['annotations'] == [each for each in whole['annotations'] if each['image_id'] in ids]
    assert coco['categories'] == whole['categories']
    assert part.files['val'] == data.files['val'] and part.classes == data.classes


def test_the_order_of_the_file_does_not_count(data, tmp_path):
    """The same names in another order select the same images."""
    import shutil

    copied = tmp_path / 'copied'
    shutil.copytree(data.root, copied)
    coco = json.loads((copied / 'train.json').read_bytes())
    coco['images'].reverse()
    (copied / 'train.json').write_text(json.dumps(coco))
    assert names(with_fraction(check_data(copied, decode=False).usable(), 0.5)) == names(with_fraction(data, 0.5))


def test_the_whole_is_left_as_it_is(data):
    assert with_fraction(data, 1.0) is data
    part = with_fraction(data, 0.5)
    assert with_fraction(part, 0.5) is part
