"""Reports of findings."""

import pytest

from mmcnn.datasets.folders.findings import Finding, counts, listed

FINDINGS = [
    Finding('box below a pixel', 'train.json', 'annotation 9 is small'),
    *(Finding('box of zero area', 'train.json', f'annotation {i} has none', i) for i in range(7)),
    Finding('duplicate id', 'val.json', 'image id 3 is used twice', 3),
]


def test_kinds_come_in_their_order_five_of_each():
    assert listed(FINDINGS) == [
        'warning: box below a pixel (1)',
        '  train.json: annotation 9 is small',
        'error: duplicate id (1)',
        '  val.json: image id 3 is used twice',
        'error: box of zero area (7)',
        *(f'  train.json: annotation {i} has none' for i in range(5)),
        '  and 2 more',
    ]
    assert listed(FINDINGS[1:8], shown=7)[-1] == '  train.json: annotation 6 has none'
    assert listed([]) == []


def test_the_cause_comes_last_and_what_follows_is_one_line():
    what_follows = [
        *(Finding('class without a box', 'val.json', f'category {i} has no box', i, follows=True) for i in range(3)),
        Finding('no boxes', 'train.json', 'has no boxes to train on', follows=True),
    ]
    note = Finding('read as', 'val.json', "id of 1 image is '1'")
    assert listed([*FINDINGS[8:], *what_follows, FINDINGS[0], note]) == [
        'note: read as (1)',
        "  val.json: id of 1 image is '1'",
        'warning: box below a pixel (1)',
        '  train.json: annotation 9 is small',
        'consequences of the errors below: val.json has 3 classes without boxes; train.json has no boxes',
        'error: duplicate id (1)',
        '  val.json: image id 3 is used twice',
    ]


def test_counts():
    assert list(counts(FINDINGS).items()) == [('duplicate id', 1), ('box of zero area', 7), ('box below a pixel', 1)]


def test_the_split_by_its_former_name():
    with pytest.warns(DeprecationWarning, match=r'Finding\.part was renamed to Finding\.split'):
        assert Finding('no boxes', 'train.json', 'has no boxes', split='train').part == 'train'
