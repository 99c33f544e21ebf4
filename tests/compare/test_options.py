"""Options of a comparison, and their refusals."""

import pytest

from mmcnn.compare.options import BUDGET, CompareOptions, count_of, seconds_of
from mmcnn.errors import UsageError


def options(**given):
    return CompareOptions(**dict(config='yolov5_n', backbones=['a']) | given)


@pytest.mark.parametrize(
    ('time', 'seconds'), [('2h', 7200), ('90min', 5400), ('90m', 5400), ('1.5 d', 129600), (30, 30), ('45s', 45)]
)
def test_times(time, seconds):
    assert seconds_of(time) == seconds


@pytest.mark.parametrize('time', ['', 'h', '2 weeks', '-1h', '0', 'nan'])
def test_what_is_no_time(time):
    with pytest.raises(UsageError, match=r'budget=.*: it must be a time such as 2h'):
        seconds_of(time)


@pytest.mark.parametrize(('count', 'number'), [('0.4G', 4e8), ('400M', 4e8), (4e8, 4e8), ('4e8', 4e8)])
def test_numbers_of_multiply_adds(count, number):
    assert count_of(count) == number


def test_lists_are_typed_with_commas():
    found = options(backbones=['a,mmcnn.b', 'a'], weights='scratch,x.pth', fraction='0.25,1')
    assert found.backbones == ('a', 'b') and found.weights == ('scratch', 'x.pth') and found.fraction == (0.25, 1.0)
    assert options(fraction=[0.5]).fraction == (0.5,)
    assert found.training() == {name: getattr(found, name) for name in BUDGET}


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(backbones=[]), r'backbones=\[\]: give at least one'),
        (dict(fraction='1.5'), r'fraction=1.5: the value must be above 0 and at most 1'),
        (dict(fraction='half'), r'fraction=half: the value must be above 0'),
        (dict(macs='much'), r'macs=much: it must be a number of multiply-adds'),
        (dict(equal='time'), r"equal='time'"),
        (dict(vary='seed'), r"vary='seed'"),
        (dict(jobs=2, executor='ray'), r'jobs=2 is only for executor=local'),
        (dict(executor_options={'a': 1}), r"executor_options=\{'a': 1\} needs executor=ray or slurm"),
        (dict(budget='1h', equal='macs'), r'budget=3600 s needs equal=epochs, not macs'),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        options(**given)
