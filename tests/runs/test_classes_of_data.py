"""Comparison of the classes of data with those of a checkpoint."""

from pathlib import Path

import pytest

from mmcnn.datasets.check.report import DetectorData
from mmcnn.errors import UsageError
from mmcnn.runs.classes_of_data import choice_of, refuse_other_classes


def trained_on(*classes):
    return {'meta': {'dataset_meta': {'classes': classes}}}


def test_a_run_is_not_resumed_on_other_classes():
    folder = DetectorData(Path('/data'), ('circle', 'square'), {}, 8, 4)
    refuse_other_classes(trained_on('circle', 'square'), folder)
    refuse_other_classes({'meta': {}}, folder)
    for classes in (('square', 'circle'), ('circle', 'ring'), ('circle',)):
        with pytest.raises(UsageError, match=r"trained on the classes .*, but /data has \('circle', 'square'\)"):
            refuse_other_classes(trained_on(*classes), folder)


def test_which_classes_are_used():
    assert choice_of(Path('/data'), None, ()) is None
    known = ['a', 'b', 'c']
    for classes, trained, used in (
        (['c,a'], (), ['a', 'c']), (None, ('b', 'a'), ('b', 'a')), (['a'], ('b', 'a'), ('b', 'a')),
        (['a'], ('a', 'gone'), ('a', 'gone')),
    ):  # fmt: skip
        assert choice_of(Path('/data'), classes, trained)(known, 'val.json') == used
    with pytest.raises(UsageError, match=r"\('b', 'gone'\), but /data has .*both have, use classes=... with some of b"):
        choice_of(Path('/data'), None, ('b', 'gone'))(known, 'val.json')
    with pytest.raises(UsageError, match=r"classes='gone': /data/val\.json has no such class"):
        choice_of(Path('/data'), ['gone'], ('b', 'gone'))(known, 'val.json')


def test_the_classes_that_are_asked_for_have_one_order_in_all_splits():
    choose = choice_of(Path('data'), ['b,a'], ())
    assert choose(['a', 'b', 'c'], 'train.json') == ['a', 'b']
    assert choose(['c', 'b', 'a'], 'val.json') == ['a', 'b']
    assert choose(['b', 'a'], 'val.json') == ['a', 'b']
