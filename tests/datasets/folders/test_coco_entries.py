"""COCO entries that deviate from COCO format."""

import copy
from pathlib import Path

import pytest

from mmcnn.datasets.check.annotations import check_annotations
from mmcnn.datasets.folders.coco_entries import misnamed, missing_lists, read_entries
from mmcnn.datasets.folders.split import DataSplit

COCO = {
    'images': [{'id': i, 'file_name': f'{i}.png', 'width': 40, 'height': 30} for i in (1, 2)],
    'annotations': [
        {'id': i, 'image_id': i, 'category_id': i, 'bbox': [1.0, 2.0, 10.0, 9.0], 'area': 90.0, 'iscrowd': 0}
        for i in (1, 2)
    ],
    'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}],
}


def read(change):
    """Return the entries as read after an edit, the notes, and the kinds of errors that remain."""
    coco = copy.deepcopy(COCO)
    change(coco)
    split = DataSplit('train', 'train.json', Path('/data'), 'images/', coco, ann_file=Path('/data/train.json'))
    notes = list(read_entries(split))
    assert split.changed == bool(notes)
    assert all(note.severity == 'note' and note.split == 'train' for note in notes)
    return split.coco, [note.text for note in notes], [each.kind for each in check_annotations(split)]


def of_all(coco, key, names, edit):
    for entry in coco[key]:
        for name in names:
            entry[name] = edit(entry[name])


def every_id(edit):
    def change(coco):
        for key, names in dict(images=['id'], annotations=['id', 'image_id', 'category_id'], categories=['id']).items():
            of_all(coco, key, names, edit)

    return change


def test_what_is_written_as_coco_writes_it_is_left_alone():
    assert read(lambda coco: None) == (COCO, [], [])
    odd = copy.deepcopy(COCO)
    odd['annotations'] += [None, {'id': [1], 'image_id': {}, 'category_id': None, 'bbox': 'x', 'iscrowd': 'maybe'}]
    assert read(lambda coco: coco.update(copy.deepcopy(odd)))[:2] == (odd, [])


@pytest.mark.parametrize('edit', [str, float, lambda number: f' {number}.0', lambda number: f'00{number}'])
def test_ids_as_text_and_with_a_point(edit):
    coco, notes, faults = read(every_id(edit))
    assert (coco, faults) == (COCO, [])
    assert [note.split(',')[0] for note in notes] == [
        'id of 2 images was converted',
        'id of 2 annotations was converted',
        'id of 2 categories was converted',
        'image_id of 2 annotations was converted',
        'category_id of 2 annotations was converted',
    ]
    assert notes[0].endswith(f'first: {edit(1)!r} as 1 (entry 0, counted from 0)')
    assert all(type(entry['id']) is int for key in COCO for entry in coco[key])


@pytest.mark.parametrize('value', [1.0, '1', '1.0'])
def test_only_the_references_are_written_otherwise(value):
    coco, notes, faults = read(lambda coco: coco['annotations'][0].update(category_id=value))
    assert (coco, faults) == (COCO, [])
    assert notes == [f'category_id of 1 annotation was converted, the first: {value!r} as 1 (entry 0, counted from 0)']


def test_references_to_what_is_not_there_stay():
    for value in (7.0, '7', 1.5, 'a', True, [1], float('nan'), float('inf')):
        _, notes, faults = read(lambda coco, value=value: coco['annotations'][0].update(category_id=value))
        assert notes == []
        assert 'unknown category' in faults


def test_an_id_that_two_would_share_is_refused():
    def change(coco):
        coco['categories'][1]['id'] = '1'
        coco['annotations'][0]['category_id'] = '1'

    coco, notes, faults = read(change)
    assert coco['categories'][1]['id'] == coco['annotations'][0]['category_id'] == '1'
    assert (notes, set(faults)) == ([], {'bad category', 'unknown category'})
    assert 'bad id' in read(lambda coco: coco['images'][1].update(id=1.0))[2]


def test_texts_that_are_no_numbers_are_numbered():
    def name(number):
        return f'3f{number}-a'

    coco, notes, faults = read(every_id(name))
    assert (coco, faults) == (COCO, [])
    assert "the first: '3f1-a' as 1, its place (entry 0" in notes[0]
    # 1 and 01 are different ids if all ids are text.
    assert read(every_id(lambda number: '1' if number == 1 else '01'))[::2] == (COCO, [])
    # Integers could be confused with positions.
    coco, notes, faults = read(lambda coco: of_all(coco, 'images', ['id'], name))
    assert (notes, faults) == ([], ['bad id', 'bad id', 'unknown image', 'unknown image'])


def test_annotations_without_ids_are_numbered():
    coco, notes, faults = read(lambda coco: [each.pop('id') for each in coco['annotations']])
    assert (coco, faults) == (COCO, [])
    assert notes == ['id of 2 annotations was converted, the first: as 1, its place (entry 0, counted from 0)']
    assert read(lambda coco: coco['annotations'][0].pop('id'))[1:] == ([], ['bad id'])


@pytest.mark.parametrize(
    ('key', 'value', 'meaning'),
    [
        ('bbox', ['1', '2', '10', '9.5'], [1.0, 2.0, 10.0, 9.5]),
        ('bbox', [1, 2, 10, '9'], [1.0, 2.0, 10.0, 9.0]),
        ('bbox', '[1, 2, 10, 9]', [1.0, 2.0, 10.0, 9.0]),
        ('bbox', '1 2 10.0 9', [1.0, 2.0, 10.0, 9.0]),
        ('bbox', '1, 2,10,9', [1.0, 2.0, 10.0, 9.0]),
        ('area', '90.5', 90.5),
        ('iscrowd', True, 1),
        ('iscrowd', False, 0),
        ('iscrowd', '1', 1),
        ('iscrowd', 0.0, 0),
        ('iscrowd', 'false', 0),
    ],
)
def test_values_of_boxes(key, value, meaning):
    coco, notes, faults = read(lambda coco: coco['annotations'][1].update({key: value}))
    assert (coco['annotations'][1][key], type(coco['annotations'][1][key])) == (meaning, type(meaning))
    assert faults == []
    assert notes == [
        f'{key} of 1 annotation was converted, the first: {value!r} as {meaning!r} (entry 1, counted from 0)'
    ]


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('bbox', ['1', '2', '3']), ('bbox', ['1', 'x', '3', '4']), ('bbox', '1 2 3'), ('bbox', ['nan', '1', '2', '3']),
        ('bbox', '[1, 2, 3'), ('bbox', ['1,5', '2', '3', '4']), ('bbox', [1, 2, 3, True]), ('iscrowd', 2.0),
        ('iscrowd', 'yes'),
    ],
)  # fmt: skip
def test_values_that_are_not_clear_stay(key, value):
    coco, notes, _ = read(lambda coco: coco['annotations'][1].update({key: value}))
    assert (coco['annotations'][1][key], notes) == (value, [])


@pytest.mark.parametrize('value', [40.0, '40', '40.0'])
def test_sizes(value):
    coco, notes, _ = read(lambda coco: coco['images'][0].update(width=value))
    assert coco == COCO and type(coco['images'][0]['width']) is int
    assert notes[0].startswith('width of 1 image was converted')
    assert read(lambda coco: coco['images'][0].update(width=40.5))[1] == []


def test_a_key_of_another_name():
    assert misnamed({'filename': 'x'}, 'file_name') == "its key is `filename`, COCO's is `file_name`"
    assert misnamed({'imageId': 1, 'id': 2}, 'image_id') == "its key is `imageId`, COCO's is `image_id`"
    assert misnamed({'bndbox': [], 'id': 2}, 'bbox') == "its key is `bndbox`, COCO's is `bbox`"
    assert misnamed({'id': 1, 'width': 2}, 'file_name') == ''


def test_lists_that_are_missing():
    assert missing_lists(COCO) == ''
    renamed = {'annotation' if key == 'annotations' else key: value for key, value in COCO.items()}
    assert missing_lists(renamed) == "has no list of annotations: its key is `annotation`, COCO's is `annotations`"
    assert missing_lists({'images': []}) == (
        'has no list of annotations, categories; COCO format has images, annotations, categories'
    )
    assert missing_lists({**COCO, 'images': {}}) == 'has no list of images: images is a JSON dict'
