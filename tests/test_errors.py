import copy
import pickle

import pytest

from mmcnn import errors

ALL = [
    errors.MmcnnError('what'),
    errors.DependencyError('what'),
    errors.UsageError('what'),
    errors.MissingLevelError('what', level=6),
    errors.DataError('what'),
    errors.DataError('what', path='train.json'),
    errors.CheckpointError('what'),
    errors.ExportError('what'),
    errors.TrainingError('what'),
    errors.StoppedError('what', signum=15),
]


def test_all_are_here():
    classes = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert {type(error) for error in ALL} == classes


@pytest.mark.parametrize('error', ALL, ids=lambda error: type(error).__name__)
def test_a_copy_and_what_another_process_gets_say_the_same(error):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
            assert type(again) is type(error)
            assert (str(again), again.args, vars(again)) == ('what', ('what',), vars(error))
