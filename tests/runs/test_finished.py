"""A finished run reports that it is finished, and is not changed again."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from mmcnn.runs.begin_hook import BeginHook
from mmcnn.runs.finished import EarlyEnd, note_finished, nothing_left
from mmcnn.runs.results import TrainResult
from mmcnn.runs.work_dirs import RECORD, RunKind, write_record

HISTORY = [dict(epoch=1, loss=2.0), dict(epoch=2, loss=1.0, AP=0.25)]


@pytest.fixture
def finished(tmp_path):
    """``finished(epochs)`` returns the config that resumes a finished run of six epochs."""
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
    [(6, '6 of 6 epochs are done'), (2, '6 epochs are done, and 2 were requested')],
)
def test_nothing_is_left(finished, tmp_path, epochs, story):
    said, result = nothing_left(finished(epochs), checkpoint(epoch=6))
    assert said == f'nothing left to train: {story} (epoch_6.pth); to continue the run, increase --epochs'
    assert (result.work_dir, result.best, result.last) == (tmp_path, None, tmp_path / 'last.pth')
    assert (result.metrics, result.history) == (dict(AP=0.25), HISTORY)
    assert result.class_ap['a'] == 0.5 and math.isnan(result.class_ap['b'])
    json.loads((tmp_path / RECORD).read_text(), parse_constant=pytest.fail)  # JSON has no NaN


def test_what_is_left_is_trained(finished, tmp_path):
    assert nothing_left(finished(7), checkpoint(epoch=6)) is None
    assert nothing_left(finished(6), checkpoint(epoch=5)) is None
    assert nothing_left(finished(6), None) is None  # there was no checkpoint
    cfg = finished(6)
    cfg.resume = False
    assert nothing_left(cfg, checkpoint(epoch=6)) is None


def test_a_run_that_was_killed_after_its_last_step_has_its_validation_left(finished, tmp_path):
    write_record(tmp_path, RunKind('x', None, 'demo'), epochs=6)  # it was started again
    assert nothing_left(finished(6), checkpoint(epoch=6)) is None
    story, result = nothing_left(finished(5), checkpoint(epoch=6))
    assert story.startswith('nothing left to train: 6 epochs are done, and 5') and result.metrics == {}


PATIENCE = dict(type='mmcnn.ResumableEarlyStoppingHook', monitor='x/score')


@pytest.fixture
def ended_early(make_runner, scores, tmp_path):
    """``ended_early(6, hook, ...)`` returns the config that resumes a run that ended after 3 of 6 epochs."""
    scores(0.3, 0.2, 0.1)
    hook = dict(PATIENCE, rule='greater', patience=2)
    runner = make_runner(tmp_path, 6, [hook], checkpoint=dict(save_best=None))
    begin = BeginHook(SimpleNamespace(work_dir=tmp_path, kind=RunKind('x', None, 'demo')))
    runner.register_hook(begin)
    runner.train()
    assert (begin.early_end.done, begin.early_end.monitor, begin.early_end.waited) == (3, 'x/score', 2)
    note_finished(
        tmp_path, config(tmp_path, max_epochs=6), TrainResult(tmp_path, metrics=dict(AP=0.1)), begin.early_end
    )

    def resumed(epochs, *hooks):
        cfg = config(tmp_path, max_epochs=epochs)
        cfg.custom_hooks = [dict(hook) for hook in hooks]
        return cfg

    return resumed


def test_a_run_that_has_ended_early_is_recorded_as_such(ended_early, tmp_path):
    record = json.loads((tmp_path / RECORD).read_text())['finished']
    assert record['epochs'] == 3
    story = 'x/score has not improved for 2 validations; the best was 0.3 after epoch 1'
    assert record['ended_early'] == dict(done=3, monitor='x/score', waited=2, story=story)


def test_without_patience_it_goes_on(ended_early):
    assert nothing_left(ended_early(6), checkpoint(epoch=3)) is None
    assert nothing_left(ended_early(6, PATIENCE | dict(patience=3)), checkpoint(epoch=3)) is None
    assert nothing_left(ended_early(6, PATIENCE | dict(monitor='y', patience=1)), checkpoint(epoch=3)) is None
    assert nothing_left(ended_early(6, PATIENCE | dict(patience=1)), checkpoint(epoch=2)) is None  # an earlier epoch
    assert nothing_left(ended_early(6, dict(type='EMAHook')), checkpoint(epoch=3)) is None


@pytest.mark.parametrize('patience', [1, 2])
def test_with_the_same_patience_nothing_is_left(ended_early, patience):
    story, result = nothing_left(ended_early(9, PATIENCE | dict(patience=patience)), checkpoint(epoch=3))
    assert story == (
        'nothing left to train: the run ended early, after 3 of 9 epochs: x/score has not improved for 2 '
        'validations; the best was 0.3 after epoch 1 (epoch_6.pth); to continue it, leave out patience or use one '
        'above 2'
    )
    assert result.metrics == dict(AP=0.1)
    story, _ = nothing_left(ended_early(3), checkpoint(epoch=3))
    assert story.startswith('nothing left to train: 3 of 3 epochs are done')


def test_a_patience_that_runs_out_at_the_last_epoch_is_no_early_end(make_runner, scores, tmp_path):
    scores(0.3, 0.2, 0.1)
    runner = make_runner(tmp_path, 3, [dict(PATIENCE, rule='greater', patience=2)])
    runner.train()
    assert EarlyEnd.of(runner) is None


def test_another_hook_may_end_a_run(make_runner, tmp_path):
    runner = make_runner(tmp_path, 3)
    hook = Hook()
    hook.after_train_epoch = lambda runner: setattr(runner.train_loop, 'stop_training', True)
    runner.register_hook(hook)
    runner.train()
    assert EarlyEnd.of(runner) == EarlyEnd(1)
    cfg = config(tmp_path, max_epochs=3)
    note_finished(tmp_path, cfg, TrainResult(tmp_path), EarlyEnd(1))
    assert nothing_left(cfg, checkpoint(epoch=1)) is None


def test_iterations(tmp_path):
    cfg = config(tmp_path, type='IterBasedTrainLoop', max_iters=100)
    assert nothing_left(cfg, checkpoint(iter=99)) is None
    note_finished(tmp_path, cfg, TrainResult(tmp_path))
    story, _ = nothing_left(cfg, checkpoint(iter=100))
    assert '100 of 100 iterations are done' in story and 'train_cfg.max_iters' in story
