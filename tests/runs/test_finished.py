"""A run that has come to its end says so, and nothing of it is touched again."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmcnn.runs.finished import note_finished, nothing_left
from mmcnn.runs.results import TrainResult
from mmcnn.runs.work_dirs import RECORD, RunKind, write_record

HISTORY = [dict(epoch=1, loss=2.0), dict(epoch=2, loss=1.0, AP=0.25)]


@pytest.fixture
def finished(tmp_path):
    """``finished(epochs)``: config of a run in a folder where one of six epochs has ended, to be resumed."""
    write_record(tmp_path, RunKind('x', None, 'demo'), epochs=6)
    result = TrainResult(tmp_path, None, None, dict(AP=0.25), {'a': 0.5, 'b': math.nan}, HISTORY)
    note_finished(tmp_path, config(tmp_path, max_epochs=6), result)
    (tmp_path / 'last.pth').touch()
    return lambda epochs: config(tmp_path, max_epochs=epochs)


def config(folder, **train_cfg):
    return Config(dict(work_dir=str(folder), resume=True, train_cfg=train_cfg))


def checkpoint(**meta):
    return SimpleNamespace(meta=meta, path=Path('epoch_6.pth'))


@pytest.mark.parametrize(
    ('epochs', 'story'),
    [(6, '6 of 6 epochs are done'), (2, '6 epochs are done, and 2 were asked for')],
)
def test_nothing_is_left(finished, tmp_path, epochs, story):
    said, result = nothing_left(finished(epochs), checkpoint(epoch=6))
    assert said == f'nothing left to train: {story} (epoch_6.pth); more of them (--epochs) continue the run'
    assert (result.work_dir, result.best, result.last) == (tmp_path, None, tmp_path / 'last.pth')
    assert (result.metrics, result.history) == (dict(AP=0.25), HISTORY)
    assert result.class_ap['a'] == 0.5 and math.isnan(result.class_ap['b'])
    json.loads((tmp_path / RECORD).read_text(), parse_constant=pytest.fail)  # no NaN, which JSON does not have


def test_what_is_left_is_trained(finished, tmp_path):
    assert nothing_left(finished(7), checkpoint(epoch=6)) is None
    assert nothing_left(finished(6), checkpoint(epoch=5)) is None
    assert nothing_left(finished(6), None) is None  # there was no checkpoint
    cfg = finished(6)
    cfg.resume = False
    assert nothing_left(cfg, checkpoint(epoch=6)) is None


def test_a_run_that_was_killed_after_its_last_step_has_its_validation_left(finished, tmp_path):
    write_record(tmp_path, RunKind('x', None, 'demo'), epochs=6)  # it has begun anew
    assert nothing_left(finished(6), checkpoint(epoch=6)) is None
    story, result = nothing_left(finished(5), checkpoint(epoch=6))
    assert story.startswith('nothing left to train: 6 epochs are done, and 5') and result.metrics == {}


def test_iterations(tmp_path):
    cfg = config(tmp_path, type='IterBasedTrainLoop', max_iters=100)
    assert nothing_left(cfg, checkpoint(iter=99)) is None
    note_finished(tmp_path, cfg, TrainResult(tmp_path))
    story, _ = nothing_left(cfg, checkpoint(iter=100))
    assert '100 of 100 iterations are done' in story and 'train_cfg.max_iters' in story
