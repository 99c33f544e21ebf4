import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import sys
import time

import pytest
from torch.utils.data import DataLoader

from mmcnn.engine.data_workers import guard_workers, worker_death
from mmcnn.errors import TrainingError


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
    # The worker's own start-up function ran, too.
    assert sorted(found) == sorted([f'{index} {index % 2}'] for index in range(20))
    iterator = iter(loader)
    next(iterator)
    worker = iterator._workers[0]
    worker.terminate()  # by its parent
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
    with pytest.raises(RuntimeError):
        os.kill(pid, signum)
        for _ in iterator:
            pass
    assert worker_death() == (
        f'a data-loading process, pid {pid}, has died ({how}); most often the machine has run out of memory, or '
        '/dev/shm of space: then fewer workers or a smaller batch size help'
    )
    assert worker_death() is None  # of an error that comes later


def test_several_dead_workers_are_one_sentence():
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started)
    guard_workers(loader)
    iterator = iter(loader)
    next(iterator)
    first, second = iterator._workers
    for worker, signum in ((first, signal.SIGKILL), (second, signal.SIGBUS)):
        with contextlib.suppress(RuntimeError):  # PyTorch is told
            os.kill(worker.pid, signum)
            worker.join(10)
    assert f'pid {first.pid}, {second.pid}, has died (Bus error, Killed);' in worker_death()


def test_workers_that_have_ended_well_are_not_dead():
    loader = DataLoader(Slow(range(8)), batch_size=1, num_workers=2, worker_init_fn=started)
    guard_workers(loader)
    for _ in range(2):
        assert len(list(loader)) == 8
    assert worker_death() is None


@pytest.mark.parametrize('room', [0, 3, 8, 11])  # for parts of the first queue, of an event, of a worker's queue
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
        'the data-loading processes cannot be started: /dev/shm is full: fewer workers or a smaller batch size, '
        'in Docker --shm-size or --ipc=host'
    )
    assert not unraisable
    for process in multiprocessing.active_children():  # as at the end of a program
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
    assert worker_death() is None


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
    assert f'pid {worker.pid}, has died (Killed);' in worker_death()


class FullSharedMemory:
    def __reduce__(self):
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)')


def test_a_worker_that_cannot_hand_a_batch_over_says_why_and_ends(capfd):
    batches = [FullSharedMemory()]
    loader = DataLoader(
        batches, batch_size=1, num_workers=1, collate_fn=lambda batch: batch, multiprocessing_context='fork', timeout=20
    )
    guard_workers(loader)
    with pytest.raises(RuntimeError):
        next(iter(loader))
    assert 'data-loading process' in worker_death()
    said = capfd.readouterr().err
    assert 'cannot hand over a batch: unable to allocate shared memory' in said
    assert '--shm-size' in said
    assert 'Traceback' not in said


def death_after_a_kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return worker_death()
    except RuntimeError:  # PyTorch was told first, before there was anything to ask
        return worker_death()


def test_a_worker_that_died_while_it_handed_a_batch_over_is_found():
    """The main process gets a broken connection then, which says nothing of a worker."""
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started, persistent_workers=True)
    guard_workers(loader)
    assert worker_death() is None
    iterator = iter(loader)
    next(iterator)
    assert worker_death() is None
    worker = iterator._workers[1]
    assert death_after_a_kill(worker.pid).startswith(
        f'a data-loading process, pid {worker.pid}, has died (Killed); most often'
    )
    with contextlib.suppress(RuntimeError):  # PyTorch notices it, too
        iterator._shutdown_workers()
