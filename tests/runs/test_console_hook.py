import re
import time

import numpy as np
import pytest
from mmengine.hooks import Hook

from mmcnn.console import Console
from mmcnn.runs.console_hook import ConsoleHook, what_is_normal
from mmcnn.runs.history_hook import HistoryHook


@pytest.fixture
def printed(make_runner, tmp_path, capsys):
    """Run a training and return what it prints, without MMEngine's lines."""

    def run(*args, interval=10, hooks=(), notes=(), **kwargs):
        console = ConsoleHook(Console(), lambda runner: [('steps', f'{runner.max_epochs} epochs')], notes)
        runner = make_runner(tmp_path, *args, hooks=[HistoryHook(), console, *hooks], **kwargs)
        for hook in runner.hooks:
            hook.interval = interval if type(hook).__name__ == 'LoggerHook' else getattr(hook, 'interval', None)
        capsys.readouterr()
        runner.train()
        return capsys.readouterr().out.splitlines(), runner.message_hub

    return run


def test_lines_of_a_run(printed, scores):
    scores(0.25, 0.5)
    lines, hub = printed(2, notes=['warning: n'])
    assert lines[:2] == ['steps    2 epochs', 'warning: n']
    assert lines[3:5] == ['epoch 1  x/score', 'all        0.250']
    assert lines[6:8] == ['epoch 2  x/score', 'all        0.500']
    assert len(lines) == 8
    for epoch, line in ((1, lines[2]), (2, lines[5])):
        found = re.fullmatch(
            rf'epoch {epoch}/2  step 5/5  [\d.]+ images/s  ETA 0:00:0\d  loss ([\d.]+) \(a ([\d.]+), b ([\d.]+)\)', line
        )
        assert found, line
        # Means over the epoch, from MMEngine's history.
        for name, value in zip(('loss', 'loss_a', 'loss_b'), found.groups(), strict=True):
            kept = hub.log_scalars[f'train/{name}'].data[0][5 * (epoch - 1) : 5 * epoch]
            assert float(value) == pytest.approx(np.mean(kept), rel=1e-3)


def test_lines_inside_an_epoch_come_at_the_interval_of_the_log(printed):
    lines, _ = printed(1, interval=2)
    steps = [re.match(r'epoch 1/1  (step \d/5) ', line) for line in lines]
    assert [found[1] for found in steps if found] == ['step 2/5', 'step 4/5', 'step 5/5']


@pytest.mark.slow
def test_rate_and_time_left_are_those_of_the_steps(printed):
    class Slow(Hook):
        def before_train_iter(self, runner, *args, **kwargs):
            time.sleep(0.1)

        def before_val_iter(self, runner, *args, **kwargs):
            time.sleep(1.0)

    lines, _ = printed(3, interval=1, hooks=[Slow()])
    lines = [line for line in lines if line.startswith('epoch 2/3')]
    rates = [float(re.search(r'([\d.]+) images/s', line)[1]) for line in lines]
    assert len(rates) == 5 and all(5 < rate < 20 for rate in rates)  # 2 images in 0.1 s, plus the time of the step
    left = [int(re.search(r'ETA 0:00:0(\d)', line)[1]) for line in lines]
    assert left[0] in (1, 2) and left[-1] in (0, 1)  # 9 and 5 steps of 0.1 s


def test_an_epoch_without_a_step_has_no_losses(printed):
    bad = dict.fromkeys(range(10), np.nan)
    lines, hub = printed(1, bad=bad, loop=dict(on_nan='skip'), val_interval=2)
    assert [entry.keys() for entry in hub.get_info('history')] == [{'epoch', 'x/score'}]
    (line,) = [line for line in lines if line.startswith('epoch 1/1')]
    assert re.fullmatch(r'epoch 1/1  step 5/5  [\d.]+ images/s  ETA 0:00:00', line)


def test_a_training_that_counts_iterations_is_shown_by_them(printed, scores):
    scores(0.25, 0.5)
    loop = dict(type='IterBasedTrainLoop', max_iters=7)
    lines, _ = printed(interval=2, loop=loop, checkpoint=dict(by_epoch=False, interval=4), val_interval=4)
    steps = [re.sub('  .*', '', line) for line in lines[1:]]
    assert steps == [
        'iteration 2/7', 'iteration 4/7', 'iteration 4', 'all', 'iteration 6/7', 'iteration 7/7', 'iteration 7', 'all',
    ]  # fmt: skip
    assert 'epoch' not in ''.join(lines[1:])
    ends = [re.search(r' ETA (\S+)  loss ', line)[1] for line in lines if 'ETA' in line]
    assert ends[-1] == '0:00:00'


@pytest.mark.parametrize(
    'steps, metrics, says',
    [
        (57, dict(AP=0.034), '57 steps from random weights: an AP of 0 to 0.1'),
        (57, dict(AP=0.2), None),
        (1000, dict(AP=0.0), None),
        (57, dict(AP=-1), None),  # nothing to evaluate
        (12, dict(top1=33.3), '12 steps from random weights: a top-1 near 33.3 %'),
        (12, dict(top1=66.7), None),
        (12, {'x/score': 0.0}, None),
    ],
)
def test_the_first_numbers_of_a_young_run_are_put_in_place(steps, metrics, says):
    found = what_is_normal(steps, metrics, 3)
    assert (found is None) == (says is None) and (says or '') in (found or '')


def test_the_first_validation_alone_says_what_is_normal(make_runner, tmp_path, capsys, monkeypatch):
    def notes(from_scratch):
        console = ConsoleHook(Console(), lambda runner: [], from_scratch=from_scratch)
        runner = make_runner(tmp_path / str(from_scratch), 2, hooks=[HistoryHook(), console])
        monkeypatch.setattr(runner.val_evaluator, 'evaluate', lambda size: {'coco/bbox_mAP': 0.0, 'x/score': 0.0})
        capsys.readouterr()
        runner.train()
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith('note:')]

    assert notes(False) == []
    (note,) = notes(True)
    assert '2 steps from random weights' in note  # 5 iterations, 2 per step
