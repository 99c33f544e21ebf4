import json

import pytest

from mmcnn.benchmarks.gpu import results
from mmcnn.benchmarks.gpu.results import Results, read_results
from mmcnn.errors import UsageError


def test_the_file_has_every_value_as_soon_as_it_is_known(tmp_path):
    path = tmp_path / 'x.json'
    found = Results(path, {'cores': 2})
    assert read_results(path)['stages'] == {}
    found.add('speed', 'a', step_ms=3.0)
    found.add('speed', 'a', memory_gb=float('inf'), waits={'x': (1, float('nan'))})
    found.about(seconds=1.5)
    assert json.loads(path.read_text()) == {
        'version': 1,
        'about': {'cores': 2, 'seconds': 1.5},
        'stages': {'speed': {'a': {'step_ms': 3.0, 'memory_gb': 'inf', 'waits': {'x': [1, 'nan']}}}},
    }
    assert found['speed']['a']['step_ms'] == 3.0 and found['latency'] == {}
    assert [each.name for each in tmp_path.iterdir()] == ['x.json']


def test_a_write_that_fails_leaves_the_values_before_it(tmp_path, monkeypatch):
    found = Results(tmp_path / 'x.json', {})
    found.add('speed', 'a', step_ms=3.0)
    monkeypatch.setattr(results.json, 'dumps', lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found.add('speed', 'b', step_ms=4.0)
    assert read_results(tmp_path / 'x.json')['stages'] == {'speed': {'a': {'step_ms': 3.0}}}


def test_refusals(tmp_path):
    with pytest.raises(UsageError, match=r'gone/x.json cannot be written: No such file'):
        Results(tmp_path / 'gone' / 'x.json', {})
    with pytest.raises(UsageError, match='cannot be read: No such file'):
        read_results(tmp_path / 'x.json')
    for text in ('no JSON', '[]', '{"version": 0, "stages": {}}'):
        (tmp_path / 'x.json').write_text(text)
        with pytest.raises(UsageError, match='is not a results file of gpu_check'):
            read_results(tmp_path / 'x.json')
