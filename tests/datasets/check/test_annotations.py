"""Each annotation error is reported with its file, id and kind."""

import copy
import random
from pathlib import Path

import pytest

from mmcnn.datasets.check.annotations import _is_plain, _problems_of_annotation, check_annotations
from mmcnn.datasets.folders.split import DataSplit

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


def check(*changes, places=None):
    """Return the findings after setting the entries at these paths to these values."""
    coco = copy.deepcopy(COCO)
    for path, value in changes:
        node = coco
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
    return list(check_annotations(DataSplit('train', 'train.json', Path('/data'), 'images/', coco, places=places)))


def box(value):
    return (('annotations', 0, 'bbox'), value)


def test_nothing_is_wrong():
    assert check() == []
    assert check((('annotations',), [])) == []
    for fine in ([-2, 0, 42, 30], [0, -1.9, 42, 33.9], [39, 29, 1, 1]):
        assert check(box(fine)) == []
    without = {key: value for key, value in COCO['annotations'][0].items() if key not in ('area', 'iscrowd')}
    assert check((('annotations', 0), without)) == []
    assert check((('images', 0), {'id': 7, 'file_name': 'a.jpg'})) == []


@pytest.mark.parametrize(
    ('path', 'value', 'kind', 'number', 'message'),
    [
        (('annotations', 0, 'image_id'), 8, 'unknown image', 1, 'annotation 1 has image_id 8, which is not defined'),
        (('annotations', 0, 'image_id'), [7], 'unknown image', 1, 'annotation 1 has image_id [7],'),
        (('annotations', 0, 'image_id'), True, 'unknown image', 1, 'annotation 1 has image_id True,'),
        (('annotations', 1, 'category_id'), 1, 'unknown category', 2, 'annotation 2 has category_id 1, which'),
        (('annotations', 1, 'category_id'), None, 'unknown category', 2, 'annotation 2 has category_id None'),
        (*box([1, 2, 3]), 'bad box', 1, 'annotation 1 has bbox [1, 2, 3]; it must be four finite numbers'),
        (*box([1, 2, float('nan'), 4]), 'bad box', 1, 'four finite numbers'),
        (*box([1, 2, float('inf'), 4]), 'bad box', 1, 'four finite numbers'),
        (*box([1, 2, '3', 4]), 'bad box', 1, 'four finite numbers'),
        (*box([1, 2, 10**400, 4]), 'bad box', 1, 'four finite numbers'),
        (*box({'x': 1}), 'bad box', 1, 'four finite numbers'),
        (*box(None), 'bad box', 1, 'annotation 1 has bbox None'),
        (*box([1, 2, 0, 4]), 'box of zero area', 1, 'annotation 1 has bbox [1.0, 2.0, 0.0, 4.0] without area'),
        (*box([1, 2, 3, -4]), 'box of zero area', 1, 'without area'),
        (*box([1, 2, 0.5, 4]), 'box below a pixel', 1, 'training skips boxes narrower or lower than 1 px'),
        (*box([40, 2, 3, 4]), 'box outside the image', 1, 'outside the image of 40 x 30 px, a.jpg'),
        (*box([-3, 2, 3, 4]), 'box outside the image', 1, 'annotation 1 has bbox [-3.0, 2.0, 3.0, 4.0], outside'),
        (*box([1, 30, 3, 4]), 'box outside the image', 1, 'outside the image of 40 x 30 px'),
        (*box([1, -9, 3, 4]), 'box outside the image', 1, 'outside the image of 40 x 30 px'),
        (*box([-2.1, 2, 9, 4]), 'box partly outside the image', 1, 'which leaves the image of 40 x 30 px, a.jpg'),
        (*box([38, 2, 4.1, 4]), 'box partly outside the image', 1, 'training clips it'),
        (*box([1, -2.1, 9, 9]), 'box partly outside the image', 1, 'training clips it'),
        (*box([1, 20, 9, 12.1]), 'box partly outside the image', 1, 'training clips it'),
        (('annotations', 0, 'area'), 0, 'bad area', 1, 'annotation 1 has area 0; width times height is used instead'),
        (('annotations', 0, 'area'), float('nan'), 'bad area', 1, 'annotation 1 has area nan'),
        (('annotations', 0, 'area'), '9', 'bad area', 1, "annotation 1 has area '9'"),
        (('annotations', 0, 'iscrowd'), 'no', 'bad iscrowd', 1, "annotation 1 has iscrowd 'no'; it must be 0 or 1"),
        (('annotations', 1, 'id'), 1, 'duplicate id', 1, 'annotation id 1 is used twice'),
        (('annotations', 1, 'id'), 'two', 'bad id', None, 'annotation entry 1 (counted from 0) has no integer id'),
        (
            ('annotations', 1, 'id'),
            -1,
            'bad id',
            None,
            'annotation entry 1 (counted from 0) has no integer id of at least 0',
        ),
        (('annotations', 1), 'junk', 'bad id', None, 'annotation entry 1 (counted from 0) has no integer id'),
        (('images', 1, 'id'), 7, 'duplicate id', 7, 'image id 7 is used twice'),
        (('images', 1, 'id'), None, 'bad id', None, 'image entry 1 (counted from 0) has no integer id'),
        (('images', 1, 'file_name'), '', 'bad image entry', 9, "image 9 has file_name ''"),
        (('images', 1, 'file_name'), 5, 'bad image entry', 9, 'image 9 has file_name 5'),
        (('images', 1, 'height'), -3, 'bad image entry', 9, 'image 9 has height -3; it must be a number of pixels'),
        (('images', 1, 'width'), '40', 'bad image entry', 9, "image 9 has width '40'"),
        (('categories', 1, 'id'), 'x', 'bad category', None, 'category entry 1 (counted from 0) has no integer id'),
        (('categories', 1, 'name'), 'zèbre', 'bad category', 3, "category 3 has the name of an earlier one, 'zèbre'"),
        (('categories', 1, 'name'), None, 'bad category', 3, 'category 3 has no name'),
    ],
)
def test_each_fault_is_named(path, value, kind, number, message):
    (finding,) = [each for each in check((path, value)) if each.kind == kind]
    assert (finding.file, finding.id, finding.split) == ('train.json', number, 'train')
    assert message in finding.text
    if kind != 'bad category':  # a category cannot be skipped
        assert finding.entry == path[:2]


def test_one_fault_is_one_finding():
    assert len(check(box([1, 2, 0, 4]))) == 1
    assert len(check((('annotations', 0, 'image_id'), 8))) == 1
    assert len(check((('annotations', 1), 'junk'))) == 1


def test_a_category_id_that_is_used_twice():
    kinds = [(each.kind, each.text) for each in check((('categories', 1, 'id'), 90))]
    assert kinds == [
        ('bad category', 'category id 90 is used twice'),
        ('unknown category', 'annotation 1 has category_id 3, which is not defined'),
    ]


def test_boxes_belong_to_the_first_of_two_images_with_an_id():
    second = {'id': 7, 'file_name': 'c.jpg', 'width': 4, 'height': 4}
    assert [each.kind for each in check((('images', 1), second))] == ['duplicate id']


def test_places_of_converted_annotations():
    (finding,) = check(box([1, 2, 0, 4]), places=['labels/a.txt:1', 'labels/a.txt:2'])
    assert (
        str(finding)
        == 'labels/a.txt:1: the box has bbox [1.0, 2.0, 0.0, 4.0] without area; width and height must be positive'
    )


def test_boxes_are_not_held_to_the_size_of_a_picture_at_fault():
    coco = copy.deepcopy(COCO)
    coco['annotations'][0]['bbox'], coco['annotations'][1]['bbox'] = [50, 2, 9, 9], [0, 0, 0, 5]
    part = DataSplit('train', 'train.json', Path('/data'), 'images/', coco)
    assert [each.kind for each in check_annotations(part)] == ['box outside the image', 'box of zero area']
    assert [each.kind for each in check_annotations(part, {0})] == ['box of zero area']


def test_what_is_plain_at_a_glance_is_so_when_it_is_looked_at():
    image = {'id': 1, 'file_name': 'a.jpg', 'width': 40, 'height': 30}
    values = dict(
        image_id=[1, 1, 1, 2, '1', True, None],
        category_id=[3, 3, 3, 4, 3.0],
        iscrowd=[0, 0, 1, None, True, 2],
        area=[None, 5, 5.5, 0, -1, float('nan'), float('inf'), 2.0**64, '5'],
        size=[(40, 30), (40, 30), (40.0, 30), (None, 30), (-3, 30), ('40', 30), (float('inf'), 30)],
        bbox=[None, [1, 2, 3], 'text'],
    )
    sides = [0, 1, 0.5, -1, -2.5, 3, 29, 38, 42, 43.5, float('nan'), float('inf'), -float('inf'), '3', True, 2**70]
    rng, plain = random.Random(0), 0
    for _ in range(10_000):
        annotation = {key: rng.choice(each[:1] if rng.random() < 0.8 else each) for key, each in values.items()}
        if rng.random() < 0.95:
            annotation['bbox'] = [rng.choice(sides[:7] if rng.random() < 0.8 else sides) for _ in range(4)]
        image['width'], image['height'] = annotation.pop('size')
        problems = list(_problems_of_annotation(annotation, {1: image}, {3}))
        if _is_plain(annotation, {1: image}, {3}):
            plain += 1
            assert problems == [], annotation
    assert plain > 300
