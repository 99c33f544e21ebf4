import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from mmcnn.engine import batch_transport, data_workers
from mmcnn.engine.data_workers import forget_deaths, guard_workers, worker_death
from mmcnn.errors import TrainingError

BROKEN = EOFError()  # as from a broken connection


def started(worker_id):
    os.environ['STARTED'] = str(worker_id)


class Slow(list):
    def __getitem__(self, index):
        time.sleep(0.02)
        return f'{index} {os.environ["STARTED"]}'


def test_workers_are_deaf_for_signals_of_others_and_end_with_their_loader():
    loader = DataLoader(Slow(range(20)), batch_size=1, num_workers=2, worker_init_fn=started, collate_fn=list)
    guard_workers(loader)
    guard_workers(loader)
    iterator = iter(loader)
    found = [next(iterator)]
    for worker in iterator._workers:
        for signum in (signal.SIGINT, signal.SIGINT):
            os.kill(worker.pid, signum)
        sender = os.fork()
        if not sender:
            os.kill(worker.pid, signal.SIGTERM)
            os._exit(0)
        os.waitpid(sender, 0)
    found += list(iterator)
    # The user's worker_init_fn ran, too.
    assert sorted(found) == sorted([f'{index} {index % 2}'] for index in range(20))
    iterator = iter(loader)
    next(iterator)
    worker = iterator._workers[0]
    worker.terminate()  # as the parent does
    worker.join(5)
    assert worker.exitcode == 0
    iterator._shutdown_workers()


@pytest.mark.parametrize(('signum', 'how'), [(signal.SIGKILL, 'Killed'), (signal.SIGSEGV, 'Segmentation fault')])
def test_a_dead_worker_is_one_sentence(signum, how):
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=1, worker_init_fn=started)
    guard_workers(loader)
    iterator = iter(loader)
    next(iterator)
    pid = iterator._workers[0].pid
    with pytest.raises(RuntimeError) as error:
        os.kill(pid, signum)
        for _ in iterator:
            pass
    assert worker_death(error.value) == (
        f'a data-loading process, pid {pid}, has died ({how}); most often the machine has run out of memory, or '
        '/dev/shm is full: use fewer workers or a smaller batch size'
    )
    assert worker_death(error.value) is None  # it is not reported for later errors


def test_several_dead_workers_are_one_sentence():
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started)
    guard_workers(loader)
    iterator = iter(loader)
    next(iterator)
    first, second = iterator._workers
    for worker, signum in ((first, signal.SIGKILL), (second, signal.SIGBUS)):
        with contextlib.suppress(RuntimeError):  # PyTorch's signal handler raises it
            os.kill(worker.pid, signum)
            worker.join(10)
    assert f'pid {first.pid}, {second.pid}, has died (Bus error, Killed);' in worker_death(BROKEN)


class Leaving(list):
    """Exit the process after the first items, without an error."""

    def __init__(self, leave):
        super().__init__(range(8))
        self.leave = leave

    def __getitem__(self, index):
        if index > 1:
            self.leave(0)
        return index


@pytest.mark.parametrize(
    ('leave', 'persistent', 'method'),
    [
        pytest.param(os._exit, False, 'fork', marks=pytest.mark.slow),
        (sys.exit, False, 'fork'),
        pytest.param(os._exit, True, 'fork', marks=pytest.mark.slow),
        (sys.exit, True, 'spawn'),
    ],
)
def test_workers_that_exit_without_an_error_have_died_too(leave, persistent, method):
    loader = DataLoader(
        Leaving(leave), batch_size=1, num_workers=2, persistent_workers=persistent, multiprocessing_context=method
    )
    guard_workers(loader)
    iterator = iter(loader)
    first, second = iterator._workers
    for worker in (first, second):
        worker.join(60)
        assert worker.exitcode == 0
    with pytest.raises(RuntimeError, match='exited unexpectedly') as error:
        list(iterator)
    assert f'a data-loading process, pid {first.pid}, {second.pid}, has died;' in worker_death(error.value)
    assert worker_death(error.value) is None


class Stream(IterableDataset):
    """Workers have parts of different lengths."""

    def __iter__(self):
        return iter(range(1 + 20 * torch.utils.data.get_worker_info().id))


@pytest.mark.parametrize('persistent', [False, True])
@pytest.mark.parametrize('dataset', [Slow(range(8)), Stream()], ids=['items', 'stream'])
def test_workers_that_have_ended_well_are_not_dead(dataset, persistent):
    loader = DataLoader(
        dataset, batch_size=1, num_workers=2, worker_init_fn=started, collate_fn=list, persistent_workers=persistent
    )
    guard_workers(loader)
    for _ in range(2):
        assert len(list(loader)) == {Slow: 8, Stream: 22}[type(dataset)]
        assert worker_death(BROKEN) is None
    iterator = iter(loader)
    workers = iterator._workers
    for _ in range(5):
        next(iterator)
    if type(dataset) is Stream and not persistent:  # its part has ended, but not the iterator
        workers[0].join(10)
        assert workers[0].exitcode == 0
    assert worker_death(BROKEN) is None
    iterator._shutdown_workers()  # as if the loop had been left early
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    assert worker_death(BROKEN) is None


class Killed:
    """A killed process; PyTorch's handler raises when its exit code is read for the n-th time."""

    pid, sentinel = 7, None

    def __init__(self, n):
        self.left = n

    @property
    def exitcode(self):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError('DataLoader worker (pid 8) is killed by signal: Killed.')
        return -signal.SIGKILL


@pytest.mark.parametrize('n', range(1, 5))
def test_pytorch_may_speak_up_while_the_dead_are_looked_for(n):
    loader = DataLoader(range(2), num_workers=1)
    guard_workers(loader)
    context = loader.multiprocessing_context
    context.workers.append(data_workers._Worker(Killed(n), context.Event()))
    assert 'pid 7, has died (Killed);' in worker_death(BROKEN)
    assert worker_death(BROKEN) is None
    context.workers.append(data_workers._Worker(Killed(n), context.Event()))
    forget_deaths()
    assert worker_death(BROKEN) is None


@pytest.mark.parametrize(
    'error', [torch.OutOfMemoryError('CUDA'), NotImplementedError(), TrainingError(), ValueError()]
)
def test_errors_that_come_of_something_else(error):
    loader = DataLoader(range(2), num_workers=1)
    guard_workers(loader)
    context = loader.multiprocessing_context
    context.workers.append(data_workers._Worker(Killed(0), context.Event()))
    assert worker_death(error) is None
    assert worker_death(ConnectionResetError()) is not None
    start = time.monotonic()
    assert worker_death(error) is None and time.monotonic() - start < 0.1  # without waiting


def test_the_dead_of_an_earlier_run_are_forgotten_and_the_living_are_not():
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started)
    guard_workers(loader)
    iterator = iter(loader)
    next(iterator)
    first, second = iterator._workers
    for worker in (first, second):
        with contextlib.suppress(RuntimeError):  # PyTorch's signal handler raises it
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(10)
        if worker is first:
            forget_deaths()
    assert f'pid {second.pid}, has died' in worker_death(BROKEN)


@pytest.mark.parametrize('room', [0, 3, 8, 11])  # for parts of the first queue, of an event, and of a worker's queue
def test_workers_that_cannot_be_started_are_one_sentence(full_shm, monkeypatch, room):
    unraisable = []
    monkeypatch.setattr(sys, 'unraisablehook', unraisable.append)
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, multiprocessing_context='fork')
    guard_workers(loader)
    full_shm(room)
    with pytest.raises(TrainingError) as error:
        iter(loader)
    found = str(error.value)
    del error
    gc.collect()
    assert found == (
        'the data-loading processes cannot be started: /dev/shm is full: use fewer workers or a smaller batch size; '
        'in Docker, --shm-size or --ipc=host'
    )
    assert not unraisable
    for process in multiprocessing.active_children():  # as at interpreter exit
        process.kill()
        process.join()


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_a_process_that_the_system_refuses_is_one_sentence(method, monkeypatch):
    def refuse(*args):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, multiprocessing_context=method)
    guard_workers(loader)
    monkeypatch.setattr('os.fork', refuse)
    monkeypatch.setattr('multiprocessing.util.spawnv_passfds', refuse)
    monkeypatch.setattr('multiprocessing.forkserver.ForkServer.connect_to_new_process', refuse)
    sentence = '^the data-loading processes cannot be started: Resource temporarily unavailable$'
    with pytest.raises(TrainingError, match=sentence):
        iter(loader)
    assert worker_death(BROKEN) is None


@pytest.mark.slow
@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
def test_workers_of_every_start_method(method):
    loader = DataLoader(
        range(4), batch_size=1, num_workers=1, collate_fn=list, multiprocessing_context=method, persistent_workers=True
    )
    guard_workers(loader)
    assert list(loader) == list(loader) == [[0], [1], [2], [3]]
    worker = loader._iterator._workers[0]
    with pytest.raises(RuntimeError):
        os.kill(worker.pid, signal.SIGKILL)
        list(loader)
    assert f'pid {worker.pid}, has died (Killed);' in worker_death(BROKEN)


def test_a_worker_that_cannot_hand_a_batch_over_says_why_and_ends(capfd, monkeypatch):
    def full(block):
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)')

    loader = DataLoader(range(1), batch_size=1, num_workers=1, multiprocessing_context='fork', timeout=20)
    guard_workers(loader)
    monkeypatch.setattr(batch_transport._Block, '__reduce__', full)
    with pytest.raises(RuntimeError):
        next(iter(loader))
    assert 'data-loading process' in worker_death(BROKEN)
    said = capfd.readouterr().err
    assert 'cannot send a batch: unable to allocate shared memory' in said
    assert '--shm-size' in said
    assert 'Traceback' not in said


def death_after_a_kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return worker_death(BROKEN)
    except RuntimeError:  # PyTorch's handler came first
        return worker_death(BROKEN)


def test_a_worker_that_died_while_it_handed_a_batch_over_is_found():
    """Then the main process gets a broken connection, which does not mention the worker."""
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started, persistent_workers=True)
    guard_workers(loader)
    assert worker_death(BROKEN) is None
    iterator = iter(loader)
    next(iterator)
    assert worker_death(BROKEN) is None
    worker = iterator._workers[1]
    assert death_after_a_kill(worker.pid).startswith(
        f'a data-loading process, pid {worker.pid}, has died (Killed); most often'
    )
    with contextlib.suppress(RuntimeError):  # PyTorch notices it, too
        iterator._shutdown_workers()


def test_a_worker_that_was_killed_with_the_lock_of_the_shut_down_does_not_block_it():
    """Then neither the main process nor other workers could read or set the event."""
    loader = DataLoader(
        Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started, multiprocessing_context='fork'
    )
    guard_workers(loader)
    iterator = iter(loader)
    next(iterator)
    killed = multiprocessing.get_context('fork').Process(target=iterator._workers_done_event._cond.acquire)
    killed.start()
    killed.join()
    workers, start = iterator._workers, time.monotonic()
    del iterator
    assert time.monotonic() - start < 4
    assert all(worker.exitcode is not None for worker in workers)
    assert worker_death(BROKEN) is None  # they were not found dead, but ended
    assert len(list(loader)) == 50
