import os
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmcnn.console import Console
from mmcnn.runs.console_hook import ConsoleHook
from mmcnn.runs.history_hook import HistoryHook


class Journal(Hook):
    """Record the losses of every iteration independently; can terminate the process after some iterations."""

    def __init__(self, ends_after=None):
        self.losses, self.ends_after = {}, ends_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if outputs is not None:
            numbers = {name: float(torch.as_tensor(value).detach()) for name, value in outputs.items()}
            self.losses.setdefault(runner.epoch + 1, []).append(numbers)
        if runner.iter + 1 == self.ends_after:
            os.kill(os.getpid(), signal.SIGTERM)


def history_of(runner):
    return runner.message_hub.get_info('history')


def assert_means(history, losses):
    for entry in history:
        own = losses[entry['epoch']]
        assert {'loss', 'loss_a', 'loss_b'} <= entry.keys()
        for name in ('loss', 'loss_a', 'loss_b'):
            assert entry[name] == pytest.approx(np.mean([each[name] for each in own]), rel=1e-6)


def test_means_and_validations_of_each_epoch(make_runner, tmp_path, scores):
    scores(0.25, 0.75)
    journal = Journal()
    runner = make_runner(tmp_path, hooks=[HistoryHook(), journal], val_interval=2)
    runner.train()
    history = history_of(runner)
    assert [entry['epoch'] for entry in history] == [1, 2, 3]
    assert [entry.get('x/score') for entry in history] == [None, 0.25, 0.75]
    assert all(len(each) == 5 for each in journal.losses.values())
    assert_means(history, journal.losses)


def test_skipped_batches_count_for_nothing(make_runner, tmp_path):
    journal = Journal()
    runner = make_runner(tmp_path, 1, hooks=[HistoryHook(), journal], bad={3: np.nan}, loop=dict(on_nan='skip'))
    runner.train()
    assert len(journal.losses[1]) == 4
    assert_means(history_of(runner), journal.losses)


def test_a_run_that_is_stopped_inside_an_epoch_and_resumed_has_the_same(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.3, 0.1, 0.2, 0.3)
    whole = make_runner(tmp_path / 'whole', hooks=[HistoryHook()])
    whole.train()
    with pytest.raises(SystemExit):
        make_runner(tmp_path / 'stopped', hooks=[HistoryHook(), Journal(ends_after=8)]).train()
    resumed = make_runner(tmp_path / 'stopped', hooks=[HistoryHook()], resume=True)
    resumed.train()
    assert history_of(resumed) == history_of(whole)


def test_going_back_to_an_earlier_epoch_forgets_the_later_ones(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.3, 0.5, 0.6)
    first = make_runner(tmp_path, hooks=[HistoryHook()])
    first.train()
    # The checkpoint of epoch 2 was written again after its validation.
    again = make_runner(tmp_path, epochs=4, resume=tmp_path / 'epoch_2.pth', hooks=[HistoryHook()])
    again.train()
    assert [(entry['epoch'], entry['x/score']) for entry in history_of(again)] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.5),
        (4, 0.6),
    ]
    assert history_of(again)[:2] == history_of(first)[:2]


def test_a_checkpoint_without_a_record_begins_one(make_runner, tmp_path, scores):
    scores(0.3, 0.2, 0.1)
    make_runner(tmp_path, epochs=2).train()  # epoch 2 is not the best, so its checkpoint lacks the validation
    runner = make_runner(tmp_path, resume=True, hooks=[HistoryHook()])
    scores(0.2, 0.1)
    runner.train()
    history = history_of(runner)
    assert history[0] == {'epoch': 2, 'x/score': 0.2}
    assert history[1]['epoch'] == 3 and history[1]['loss'] > 0 and history[1]['x/score'] == 0.1


BY_ITERATIONS = dict(
    loop=dict(type='IterBasedTrainLoop', max_iters=12),
    checkpoint=dict(by_epoch=False, interval=4, max_keep_ckpts=9),
    val_interval=5,
)


@pytest.mark.slow
def test_a_training_that_counts_iterations_has_no_epochs(make_runner, tmp_path, scores):
    scores(0.25, 0.75, 0.5)
    journal = Journal()
    runner = make_runner(tmp_path, hooks=[HistoryHook(), journal], **BY_ITERATIONS)
    runner.train()
    history, losses = history_of(runner), journal.losses[1]
    assert [(entry['iteration'], entry['x/score']) for entry in history] == [(5, 0.25), (10, 0.75), (12, 0.5)]
    assert not any('epoch' in entry for entry in history)
    for entry, own in zip(history, (losses[:5], losses[5:10], losses[10:]), strict=True):
        assert entry['loss_a'] == pytest.approx(np.mean([each['loss_a'] for each in own]), rel=1e-6)


@pytest.mark.slow
def test_iterations_without_a_validation_are_one_entry(make_runner, tmp_path):
    runner = make_runner(tmp_path, hooks=[HistoryHook()], **BY_ITERATIONS | dict(val_interval=50))
    runner.train_loop.val_interval, runner.train_loop.val_begin = 50, 50
    runner.train()
    (entry,) = history_of(runner)
    assert entry.keys() == {'iteration', 'loss', 'loss_a', 'loss_b'} and entry['iteration'] == 12


@pytest.mark.slow
def test_iterations_are_gone_on_with(make_runner, tmp_path, scores):
    scores(0.1, 0.2, 0.3, 0.4, 0.5)
    make_runner(tmp_path, hooks=[HistoryHook()], **BY_ITERATIONS).train()
    journal = Journal()
    again = make_runner(tmp_path, hooks=[HistoryHook(), journal], resume=tmp_path / 'iter_8.pth', **BY_ITERATIONS)
    again.train()
    history = history_of(again)
    assert [(entry['iteration'], entry['x/score']) for entry in history] == [(5, 0.1), (10, 0.4), (12, 0.5)]
    stored = torch.load(tmp_path / 'iter_8.pth', weights_only=True)['message_hub']['runtime_info']['losses_of_epoch']
    assert stored[0] == 3  # iterations 6 to 8
    own = [each['loss_a'] for each in journal.losses[1][:2]]
    assert history[1]['loss_a'] == pytest.approx((stored[1]['loss_a'] + sum(own)) / 5, rel=1e-6)


def test_losses_leave_the_device_once_an_iteration(make_runner, tmp_path, monkeypatch):
    """Reading a number from a GPU waits for it, so our hooks must not read losses one by one."""
    read = []

    def spy(name):
        original = getattr(torch.Tensor, name)

        def call(tensor):
            caller = sys._getframe(1).f_code.co_filename
            if caller.endswith(('history_hook.py', 'console_hook.py')):
                read.append((name, tensor.numel()))
            return original(tensor)

        monkeypatch.setattr(torch.Tensor, name, call)

    for name in ('item', 'tolist', '__float__'):
        spy(name)
    console = ConsoleHook(Console(), lambda runner: [('steps', 'of a test')])
    make_runner(tmp_path, 1, hooks=[HistoryHook(), console]).train()
    assert read == [('tolist', 3)] * 5


def test_losses_of_other_kinds():
    hook, hub = HistoryHook(), SimpleNamespace(update_info=lambda *args: None)
    hook._count, hook._sums = 0, {}
    outputs = dict(loss=torch.tensor([3.0], requires_grad=True), loss_a=torch.tensor(0.1, dtype=torch.float64))
    hook.after_train_iter(SimpleNamespace(message_hub=hub), 0, outputs=outputs | dict(loss_b=0.5, top1=torch.ones(9)))
    assert hook.losses == {'loss': 3.0, 'loss_a': 0.1, 'loss_b': 0.5}
    hook.after_train_iter(SimpleNamespace(message_hub=hub), 1, outputs=None)
    assert (hook.losses, hook._count) == ({}, 1)
