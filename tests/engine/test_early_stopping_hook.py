"""Training ends when validations stop improving, and a resumed run ends at the same epoch."""

import math

import pytest
import torch

from mmcnn.engine import ResumableEarlyStoppingHook
from mmcnn.errors import TrainingError

HOOK = dict(type='mmcnn.ResumableEarlyStoppingHook', monitor='x/score', rule='greater', patience=2)


def early(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, ResumableEarlyStoppingHook))


@pytest.mark.parametrize(
    ('values', 'epochs', 'story'),
    [
        ((0.1, 0.3, 0.2, 0.25, 0.9), 4, 'x/score has not improved for 2 validations; the best was 0.3 after epoch 2'),
        ((0.3, 0.3, 0.3, 0.9), 3, 'the best was 0.3 after epoch 1'),  # an equal number is not an improvement
        ((0.0, 0.1, 0.0, 0.2, 0.1), 5, None),
        ((math.nan, math.nan, 0.5, 0.4, 0.9), 5, None),  # NaN is not worse
        ((math.nan, 0.5, math.nan, math.nan, 0.9), 4, 'the best was 0.5 after epoch 2'),
    ],
)
def test_when_a_training_ends(make_runner, scores, tmp_path, values, epochs, story):
    scores(*values)
    runner = make_runner(tmp_path / 'run', 5, [HOOK])
    runner.train()
    assert runner.epoch == epochs
    assert early(runner).story == story if story is None else early(runner).story.endswith(story)
    assert (tmp_path / 'run' / 'last.pth').resolve().name == f'epoch_{epochs}.pth'


def test_less_may_be_better(make_runner, scores, tmp_path):
    scores(0.5, 0.4, 0.39, 0.2)
    runner = make_runner(tmp_path / 'run', 4, [HOOK | dict(rule='less', min_delta=0.05, patience=1)])
    runner.train()
    assert runner.epoch == 3


@pytest.mark.parametrize('stop', [1, 2, 3])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(make_runner, scores, tmp_path, stop):
    """Checkpoints may have the count from before or after their validation."""
    values = (0.1, 0.3, 0.2, 0.25, 0.9, 0.9)
    scores(*values)
    whole = make_runner(tmp_path / 'whole', 6, [HOOK], checkpoint=dict(max_keep_ckpts=-1))
    whole.train()
    path = tmp_path / 'whole' / f'epoch_{stop}.pth'
    hub = torch.load(path, weights_only=False)['message_hub']['runtime_info']
    validated = hub['epoch_validated'] == stop  # the best is written again after it
    assert validated == (stop < 3)
    scores(*values[stop if validated else stop - 1 :])
    runner = make_runner(tmp_path / 'run', 6, [HOOK], resume=path)
    runner.train()
    assert runner.epoch == whole.epoch == 4
    assert early(runner).story == early(whole).story
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, runner.model.state_dict()[name]), name


def test_the_best_checkpoint_has_the_count_of_its_validation(make_runner, scores, tmp_path):
    scores(0.1, 0.2, 0.3)
    make_runner(tmp_path / 'run', 2, [HOOK]).train()
    hub = torch.load(tmp_path / 'run' / 'best.pth', weights_only=False)['message_hub']
    assert hub['runtime_info']['early_stopping'] == dict(best=0.2, at='epoch 2', waited=0)


def test_a_number_that_is_not_there_is_an_error(make_runner, scores, tmp_path):
    scores(0.1)
    with pytest.raises(TrainingError, match='the validation has no x/scores'):
        make_runner(tmp_path / 'run', 2, [HOOK | dict(monitor='x/scores')]).train()


def test_a_smaller_patience_ends_a_resumed_run_at_once(make_runner, scores, tmp_path):
    scores(0.3, 0.2, 0.1)
    make_runner(tmp_path / 'run', 3, [HOOK | dict(patience=9)]).train()
    scores(0.4)
    path = tmp_path / 'run' / 'epoch_3.pth'
    runner = make_runner(tmp_path / 'run', 9, [HOOK | dict(patience=1)], resume=path)
    runner.train()
    assert runner.epoch == 3
