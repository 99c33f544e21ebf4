import io
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmcnn.compat import safe_globals


@pytest.fixture
def fresh_list():
    """torch's allow-list without our entries, restored afterwards."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def saved(content, **settings):
    stream = io.BytesIO()
    torch.save(content, stream, **settings)
    return stream.getvalue()


def loaded(data):
    return torch.load(io.BytesIO(data), weights_only=True)


def test_message_hub_loads_once_installed(fresh_list):
    buffer = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 1])
    data = saved({'loss': buffer, 'best': np.float64(0.5), 'steps': np.int64(3), 'history': np.arange(3)})
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        loaded(data)
    safe_globals.install()
    content = loaded(data)
    assert [content['loss'].statistics(name) for name in ('min', 'max', 'mean', 'current')] == [1.0, 6.0, 3.0, 6.0]
    assert content['loss'].data[0].tolist() == [1.0, 2.0, 6.0]
    assert (content['best'], content['steps'], content['history'].tolist()) == (0.5, 3, [0, 1, 2])


def test_off_where_not_needed(fresh_list, monkeypatch):
    safe_globals.install()
    installed = torch.serialization.get_safe_globals()
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', lambda _: pytest.fail('needed twice'))
    safe_globals.install()
    assert set(torch.serialization.get_safe_globals()) == set(installed)


def test_entries_stay_when_others_remove_theirs(fresh_list):
    """The onedl fork of MMEngine loads in this way."""
    safe_globals.install()
    data = saved({'history': np.arange(3), 'best': np.float64(0.5)})
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.int64)]
    with torch.serialization.safe_globals([np.ndarray, np.dtype, *kinds, np.zeros(1).__reduce__()[0]]):
        assert loaded(data)['best'] == 0.5
    assert loaded(data)['history'].tolist() == [0, 1, 2]


@pytest.mark.parametrize(('here', 'there'), [(b'numpy._core.', b'numpy.core.'), (b'numpy.core.', b'numpy._core.')])
def test_files_of_either_numpy(here, there):
    safe_globals.install()
    data = saved({'x': np.float64(0.5), 'y': np.zeros(2)}, _use_new_zipfile_serialization=False)
    content = loaded(data.replace(here + b'multiarray\n', there + b'multiarray\n'))
    assert content['x'] == 0.5
    assert content['y'].tolist() == [0.0, 0.0]


class OrderedList(list):
    """Replace torch's set by a list, so that of two entries with the same name the later one counts."""

    def union(self, other):
        return OrderedList([*self, *(each for each in other if each not in self)])


@pytest.mark.parametrize('when', ['before', 'after', 'while a file is read'])
def test_beside_mmengines_class_that_somebody_else_allows(when, fresh_list, monkeypatch):
    data = saved({'first': HistoryBuffer([1.0], [1]), 'second': HistoryBuffer([2.0], [1])})
    monkeypatch.setattr(torch._weights_only_unpickler, '_marked_safe_globals_set', OrderedList())
    if when == 'before':
        torch.serialization.add_safe_globals([HistoryBuffer])
    safe_globals.install()
    if when == 'after':
        torch.serialization.add_safe_globals([HistoryBuffer])
    fill = HistoryBuffer.__setstate__

    def setstate(self, state):
        torch.serialization.add_safe_globals([HistoryBuffer])
        fill(self, state)

    monkeypatch.setattr(HistoryBuffer, '__setstate__', setstate)
    content = loaded(data)
    assert [type(value) for value in content.values()] == [HistoryBuffer, HistoryBuffer]
    assert [value.statistics('max') for value in content.values()] == [1.0, 2.0]


def test_real_getattr_is_not_allowed():
    safe_globals.install()
    allowed = torch.serialization.get_safe_globals()
    assert getattr not in allowed
    assert not any(isinstance(entry, tuple) and entry[0] is getattr for entry in allowed)


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (HistoryBuffer, '__class__'),
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, 'statistics'),
        (HistoryBuffer, '_statistics_methods'),
        (HistoryBuffer.min, '__globals__'),
        (HistoryBuffer(), 'min'),
        (np, 'min'),
        (np.ndarray, 'tofile'),
        (np.ndarray, 'min'),
    ],
)
def test_stand_in_gives_nothing_but_the_statistics(owner, name):
    with pytest.raises(pickle.UnpicklingError, match=r'GLOBAL builtins\.getattr.*min, max, mean, current'):
        safe_globals._statistic(owner, name)


def test_stand_in_gives_the_statistics():
    for name in ('min', 'max', 'mean', 'current'):
        assert safe_globals._statistic(HistoryBuffer, name) is getattr(HistoryBuffer, name)
