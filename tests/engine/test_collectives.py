"""Communication of two ranks in a step besides the gradients: each message waits for the slowest rank."""

import os
import signal
from collections import Counter

import pytest
import torch
from mmengine.hooks import Hook
from torch import distributed, multiprocessing

from mmcnn.engine import BNStatisticsHook, step_guard

#: All functions for communication in Python; DDP exchanges gradients in C++.
FUNCTIONS = (
    'all_reduce', 'all_gather', 'all_gather_into_tensor', 'all_gather_object', 'barrier', 'broadcast',
    'broadcast_object_list', 'gather', 'gather_object', 'reduce', 'reduce_scatter', 'scatter', 'all_to_all', 'send',
    'recv', 'monitored_barrier',
)  # fmt: skip


class Messages(Hook):
    """Count the calls of each function in each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.now, self.of_iterations = Counter(), []
        for name in FUNCTIONS:
            setattr(distributed, name, self._counted(name, getattr(distributed, name)))

    def _counted(self, name, function):
        def call(*args, **kwargs):
            self.now[name] += 1
            return function(*args, **kwargs)

        return call

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx:  # otherwise these are the messages before the epoch
            self.of_iterations.append(dict(self.now))
        self.now.clear()


class StopsOne(Hook):
    """Send SIGTERM to the second rank in its first iteration, before or after the iteration's message."""

    def __init__(self, before):
        self.before = before

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._stop(runner, self.before)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._stop(runner, not self.before)

    def _stop(self, runner, now):
        if now and runner.iter == 0 and distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def _rank(rank, make_runner, folder, on_a_device, hook, options):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1')
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    if on_a_device:
        step_guard._costs_a_wait = lambda tensor: True
    messages, ended = Messages(), None
    runner = make_runner(folder / 'run', hooks=[BNStatisticsHook(), messages, *hook], **options)
    try:
        runner.train()
    except SystemExit as error:
        ended = error.code, runner.iter
    torch.save((messages.of_iterations, ended), folder / f'{rank}.pt')
    os._exit(0)  # gloo's threads and the interpreter may deadlock at exit


@pytest.fixture
def two_ranks(make_runner, tmp_path):
    def run(on_a_device=False, hook=(), **options):
        arguments = (make_runner, tmp_path, on_a_device, hook, options)
        multiprocessing.start_processes(_rank, arguments, nprocs=2, start_method='fork')
        return [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]

    return run


@pytest.mark.parametrize(
    'on_a_device, on_nan',
    [
        (True, 'stop'),
        pytest.param(False, 'stop', marks=pytest.mark.slow),
        pytest.param(True, 'skip', marks=pytest.mark.slow),
    ],
)
def test_one_message_an_iteration(two_ranks, on_a_device, on_nan):
    for iterations, ended in two_ranks(on_a_device, epochs=2, accumulate=1, loop=dict(on_nan=on_nan)):
        assert iterations == [{'all_reduce': 1}] * 4 and ended is None  # 3 batches per epoch, except for the last


@pytest.mark.parametrize(
    'before, accumulate, iterations',
    [
        (False, 1, 2),
        pytest.param(True, 1, 1, marks=pytest.mark.slow),
        pytest.param(True, 2, 2, marks=pytest.mark.slow),  # at the end of the step
    ],
)
def test_a_signal_to_one_rank_stops_both_after_the_same_step(two_ranks, before, accumulate, iterations):
    ended = [ended for _, ended in two_ranks(hook=[StopsOne(before)], accumulate=accumulate)]
    assert ended == [(143, iterations)] * 2
