import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import time

import pytest
from torch.utils.data import DataLoader

from mmcnn.engine.watch import dead_worker, guard_workers, start_failure, worker_death


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
    with pytest.raises(RuntimeError) as error:
        os.kill(pid, signum)
        for _ in iterator:
            pass
    found = worker_death(error.value).replace(f' ({how})', '')  # PyTorch does not always notice how
    assert found == (
        f'a data-loading process, pid {pid}, has died; most often the machine has run out of memory, or '
        '/dev/shm of space: then fewer --workers or a smaller --batch-size help'
    )
    assert worker_death(RuntimeError('CUDA error')) is None
    assert 'pid 1, 2, has died;' in worker_death(RuntimeError('DataLoader worker (pid(s) 1, 2) exited unexpectedly'))


@pytest.mark.parametrize('room', [0, 3, 8, 11])  # for parts of the first queue, of an event, of a worker's queue
def test_workers_that_cannot_be_started_are_one_sentence(full_shm, monkeypatch, room):
    unraisable = []
    monkeypatch.setattr(sys, 'unraisablehook', unraisable.append)
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, multiprocessing_context='fork')
    full_shm(room)
    try:
        iter(loader)
    except OSError as error:
        found = start_failure(error)
    gc.collect()
    assert found == (
        'the data-loading processes cannot be started: /dev/shm is full: fewer --workers or a smaller --batch-size, '
        'in Docker --shm-size or --ipc=host'
    )
    assert not unraisable
    for process in multiprocessing.active_children():  # as at the end of a program
        process.kill()
        process.join()
    try:
        raise OSError(28, 'No space left on device')
    except OSError as error:
        assert start_failure(error) is None


class FullSharedMemory:
    def __reduce__(self):
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)')


def test_a_worker_that_cannot_hand_a_batch_over_says_why_and_ends(capfd):
    batches = [FullSharedMemory()]
    loader = DataLoader(
        batches, batch_size=1, num_workers=1, collate_fn=lambda batch: batch, multiprocessing_context='fork', timeout=20
    )
    guard_workers(loader)
    with pytest.raises(RuntimeError) as error:
        next(iter(loader))
    assert 'data-loading process' in worker_death(error.value)
    said = capfd.readouterr().err
    assert 'cannot hand over a batch: unable to allocate shared memory' in said
    assert '--shm-size' in said
    assert 'Traceback' not in said


def test_a_worker_that_died_while_it_handed_a_batch_over_is_found():
    """The main process gets a broken connection then, which says nothing of a worker."""
    loader = DataLoader(Slow(range(50)), batch_size=1, num_workers=2, worker_init_fn=started, persistent_workers=True)
    assert dead_worker(loader) is None
    iterator = iter(loader)
    next(iterator)
    assert dead_worker(loader) is None
    worker = iterator._workers[1]
    os.kill(worker.pid, signal.SIGKILL)
    assert dead_worker(loader).startswith(f'a data-loading process, pid {worker.pid}, has died (Killed); most often')
    with contextlib.suppress(RuntimeError):  # PyTorch notices it, too
        iterator._shutdown_workers()
