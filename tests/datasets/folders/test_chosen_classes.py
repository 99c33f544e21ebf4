"""Categories that are not classes, and classes chosen by the user."""

import copy
from pathlib import Path

import pytest

from mmcnn.datasets.folders.chosen_classes import choose_classes, leave_out_grouping, names_of
from mmcnn.datasets.folders.split import DataSplit
from mmcnn.errors import UsageError

GROUP = {'id': 0, 'name': 'things', 'supercategory': 'none'}
CATEGORIES = [{'id': i, 'name': name, 'supercategory': 'things'} for i, name in enumerate('abc', start=1)]


def split_of(name='train', categories=None, boxes=((10, 1), (10, 2), (11, 3), (12, 3))):
    """Return a split of images 10 to 13 with one box for each pair of image and category."""
    coco = dict(
        images=[dict(id=i) for i in range(10, 14)],
        annotations=[dict(id=i, image_id=image, category_id=of) for i, (image, of) in enumerate(boxes)],
        categories=copy.deepcopy([GROUP, *CATEGORIES] if categories is None else categories),
    )
    return DataSplit(name, f'{name}.json', Path('/data'), 'images/', coco, ann_file=Path(f'/data/{name}.json'))


def names(split):
    return [each['name'] for each in split.coco['categories']]


def test_a_grouping_category_is_no_class():
    splits = [split_of(), split_of('val')]
    notes = list(leave_out_grouping(splits))
    assert [names(split) for split in splits] == [['a', 'b', 'c']] * 2
    assert all(split.changed and len(split.coco['annotations']) == 4 for split in splits)
    assert [(note.severity, note.file, note.id) for note in notes] == [
        ('note', 'train.json', 0), ('note', 'val.json', 0),
    ]  # fmt: skip
    assert notes[0].text == (
        "category 0, 'things', is not used as a class: it has no boxes, and all others have it as their supercategory"
    )


def test_where_only_one_split_has_it():
    splits = [split_of(), split_of('val', CATEGORIES)]
    assert len(list(leave_out_grouping(splits))) == 1
    assert [names(split) for split in splits] == [['a', 'b', 'c']] * 2


def test_classes_that_only_look_like_it_stay():
    person = [dict(id=1, name='person', supercategory='person'), dict(id=2, name='cat', supercategory='animal')]
    one = [dict(id=1, name='person', supercategory='person')]
    other = [GROUP, *CATEGORIES[:2], dict(CATEGORIES[2], supercategory='x')]
    last = [*CATEGORIES, GROUP]
    for categories in (person, one, other, last, CATEGORIES, [], [None, *CATEGORIES]):
        split = split_of(categories=categories)
        assert list(leave_out_grouping([split])) == []
        assert split.coco['categories'] == categories and not split.changed


def test_one_with_a_box_in_either_split_is_a_class():
    for boxes, val_boxes in (([(10, 0)], []), ([], [(10, 0)])):
        splits = [split_of(boxes=boxes), split_of('val', boxes=val_boxes)]
        assert list(leave_out_grouping(splits)) == []
        assert [len(names(split)) for split in splits] == [4, 4]


def test_chosen_classes():
    split = split_of(categories=CATEGORIES)
    (note,) = choose_classes(split, lambda known, title: [each for each in known if each in 'ab'])
    assert names(split) == ['a', 'b']
    assert [box['id'] for box in split.coco['annotations']] == [0, 1]
    assert len(split.coco['images']) == 4 and split.changed
    assert (note.kind, note.severity) == ('classes in use', 'note')
    assert note.text == (
        '2 of 3 classes; dropped boxes of the others: 2; images without remaining boxes, used as background if the '
        'config trains on such images: 2'
    )


def test_chosen_classes_come_in_their_order_and_may_be_absent():
    split = split_of(categories=CATEGORIES)
    assert list(choose_classes(split, lambda known, title: ['c', 'new', 'a', 'b'])) == []
    assert [(each['id'], each['name']) for each in split.coco['categories']] == [
        (3, 'c'),
        (4, 'new'),
        (1, 'a'),
        (2, 'b'),
    ]
    assert len(split.coco['annotations']) == 4 and split.changed
    same = split_of(categories=CATEGORIES)
    assert list(choose_classes(same, lambda known, title: known)) == [] and not same.changed


def test_names_as_they_are_typed():
    known = ['a', 'b', 'a/b, c', '-', 'd e']
    for words, names in (
        (['a', 'b'], ['a', 'b']), (['b,a'], ['a', 'b']), ('b, a', ['a', 'b']), (['a/b, c', '-'], ['a/b, c', '-']),
        (['d e,a'], ['a', 'd e']), (['a', 'a'], ['a']),
    ):  # fmt: skip
        assert names_of(words, known, 'train.json') == names
    with pytest.raises(UsageError, match=r"classes='person': train\.json has no such class; did you mean persons\?"):
        names_of(['cat,person'], ['cat', 'persons'], 'train.json')
    with pytest.raises(UsageError, match='name at least one of'):
        names_of([], known, 'train.json')


def test_places_of_converted_boxes_go_with_them():
    split = split_of(categories=CATEGORIES)
    split.places = [f'labels/{i}.txt:1' for i in range(4)]
    list(choose_classes(split, lambda known, title: ['c']))
    assert split.places == ['labels/2.txt:1', 'labels/3.txt:1']


def test_categories_at_fault_are_left_to_the_check():
    for categories in ([None, *CATEGORIES], [dict(id='x', name='a')], [*CATEGORIES, CATEGORIES[0]]):
        split = split_of(categories=categories)
        assert list(choose_classes(split, lambda known, title: ['a'])) == []
        assert split.coco['categories'] == categories
