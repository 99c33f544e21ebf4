"""mmcnn compare: only one comparison runs in a folder, and all data options are passed to the trainings."""

import dataclasses
import json

import pytest

from mmcnn.compare import api, trainings
from mmcnn.compare.options import BUDGET
from mmcnn.compare.results import Comparison
from mmcnn.compare.run import typed
from mmcnn.errors import UsageError
from mmcnn.runs.options import DataOptions
from mmcnn.runs.run_lock import LOCK, RunLock

CONFIG = 'yolov4_cspdarknet53_narrow'
CHECKED = trainings.Checked((), {80}, (64, 64))


class StoppedError(Exception):
    pass


@pytest.fixture
def compare(run_command, monkeypatch, tmp_path):
    """Run ``compare('--fresh')`` in the folder ``run``; return the runs and the options that they were checked with."""
    checked = {}
    monkeypatch.setattr(trainings, 'check', lambda options, names: checked.update(options=options) or CHECKED)

    def stop(runs, options, work_dir, until_epoch=None):
        assert (tmp_path / 'run' / LOCK).is_file()  # locked while it runs
        checked.update(runs=runs)
        raise StoppedError

    monkeypatch.setattr(api, 'run_trainings', stop)

    def call(*args):
        with pytest.raises(StoppedError):
            run_command('compare', CONFIG, '--backbone', 'darknet53', '--work-dir', tmp_path / 'run', *args)
        assert not (tmp_path / 'run' / LOCK).exists()
        return checked['runs'], checked['options']

    return call


@pytest.fixture
def recorded(tmp_path):
    """The folder of a run that belongs to a comparison, with its record."""
    folder = tmp_path / 'run' / 'darknet53' / 'seed_0'
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text('{"settings": {}}')
    return folder


@pytest.mark.parametrize('fresh', [[], ['--fresh']])
@pytest.mark.parametrize('where', ['.', 'darknet53/seed_0'])
def test_a_comparison_that_goes_on_is_left_alone(compare, recorded, tmp_path, fresh, where):
    """The lock belongs to a comparison, or to a training of one that was killed."""
    lock = RunLock(tmp_path / 'run' / where)
    lock.acquire()
    before = {path: path.read_bytes() for path in (tmp_path / 'run').rglob('*') if path.is_file()}
    with pytest.raises(UsageError, match=r'a run is active in \S+ \(process \d+ on \S+, started 20'):
        compare(*fresh)
    assert {path: path.read_bytes() for path in before} == before
    lock.release()
    if fresh:
        compare(*fresh)
        assert not recorded.exists()


def test_the_lock_is_held_until_everything_is_written(run_command, monkeypatch, tmp_path):
    found = Comparison('a title', 'mmcnn compare', '2026-11-27', {}, {}, [])

    def write(comparison, folder, *others):
        assert comparison is found and (folder / LOCK).is_file()

    monkeypatch.setattr(trainings, 'check', lambda *args: CHECKED)
    monkeypatch.setattr(api, 'run_trainings', lambda *args: None)
    monkeypatch.setattr(api, '_collected', lambda *args: found)
    monkeypatch.setattr(api, 'write', write)
    result = run_command('compare', CONFIG, '--backbone', 'darknet53', '--work-dir', tmp_path / 'run')
    assert 'a title.' in result.out and not (tmp_path / 'run' / LOCK).exists()


def test_every_option_of_the_data_is_of_the_budget(compare, tmp_path):
    given = dict(
        data=str(tmp_path), val_fraction=0.25, split_seed=3, classes=['a', 'b'], skip_bad=True, img_size=64,
        batch_size=2, epochs=5,
    )  # fmt: skip
    words = typed(given)
    (run,), options = compare(*words, '--workers', '0', '--cfg-options', 'model.x=1')
    assert {each.name for each in dataclasses.fields(DataOptions)} == {*BUDGET, 'workers'} - {
        'epochs', 'amp', 'cfg_options',
    }  # fmt: skip
    for name, value in given.items():
        assert getattr(options, name) == value and run.settings[name] == value
        assert f'--{name.replace("_", "-")}' in run.arguments
    assert 'workers' not in run.settings and run.settings['cfg_options'] == {'model.x': 1}


def test_runs_of_an_earlier_release_are_gone_on_with(compare, recorded):
    """Their records lack options that were not set."""
    (run,), _ = compare('--fresh', '--epochs', '5')
    old = {key: run.settings[key] for key in ('recipe', 'data', 'epochs', 'img_size', 'batch_size', 'amp')}
    recorded.mkdir()
    (recorded / 'run.json').write_text(json.dumps(dict(settings=old | dict(cfg_options={}))))
    compare('--epochs', '5')
    with pytest.raises(UsageError, match=r'other settings \(val_fraction None, now 0\.2\)'):
        compare('--epochs', '5', '--val-fraction', '0.2')
    (recorded / 'run.json').write_text(json.dumps(dict(settings=old | dict(cfg_options={}, skip_bad=True))))
    with pytest.raises(UsageError, match=r'other settings \(skip_bad True, now False\)'):
        compare('--epochs', '5')
