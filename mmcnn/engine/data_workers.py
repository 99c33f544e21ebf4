"""Data-loading processes: they leave signals to the main process, and their death has a reason."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, NoReturn

from torch.utils.data import DataLoader

from mmcnn.compat import private_names
from mmcnn.engine import shared_memory
from mmcnn.errors import TrainingError

#: Seconds in which the system is told of the end of a process whose connection has ended.
_JOIN = 0.2
_contexts: weakref.WeakSet[_WorkerContext] = weakref.WeakSet()

private_names.delete_unstarted_iterators_quietly()


def guard_workers(loader: DataLoader) -> None:
    """Makes the loader's workers deaf for Ctrl-C and for a SIGTERM that does not come from the main process.

    Terminals, Slurm and systemd send these to every process. A worker that ends then would take the batch with it that
    the main process needs to finish its step. A worker that cannot hand a batch over says why and ends; else the main
    process would wait for that batch for ever. Workers that cannot be started are a
    :class:`~mmcnn.errors.TrainingError` of one sentence, and :func:`worker_death` knows of those that die. Acts on
    workers that are started later.
    """
    if loader.num_workers == 0 or isinstance(loader.multiprocessing_context, _WorkerContext):
        return
    base = type(loader.multiprocessing_context or multiprocessing.get_context())
    loader.multiprocessing_context = type('WorkerContext', (_WorkerContext, base), {})()
    loader.worker_init_fn = partial(_begin, loader.worker_init_fn)


def worker_death() -> str | None:
    """A sentence if data-loading processes of guarded loaders have died, else None; each death is told once.

    To be asked after an error of any kind: PyTorch's own may arise anywhere in the main thread, and of a worker that
    dies while it hands a batch over the main process learns only that the connection has ended.
    """
    with contextlib.suppress(RuntimeError):  # of PyTorch's handler of SIGCHLD, at any moment
        alive = {process.sentinel: process for process in _started() if process.exitcode is None}
        if len(alive) == len(_started()):
            for sentinel in connection.wait([*alive], _JOIN):
                alive[sentinel].join(_JOIN)
    dead = [process for process in _started() if process.exitcode]
    for each in _contexts:
        each.processes = [process for process in each.processes if process not in dead]
    if not dead:
        return None
    signals = {signal.strsignal(-process.exitcode) or '' for process in dead if process.exitcode < 0}
    how = f' ({", ".join(sorted(signals))})' if any(signals) else ''
    return (
        f'a data-loading process, pid {", ".join(str(process.pid) for process in dead)}, has died{how}; most often the '
        'machine has run out of memory, or /dev/shm of space: then fewer workers or a smaller batch size help'
    )


def _started() -> list[BaseProcess]:
    return [process for each in _contexts for process in each.processes]


class _WorkerContext:
    """What a ``DataLoader`` starts its workers with, mixed into a context of multiprocessing; knows its workers."""

    def __init__(self) -> None:
        self.processes: list[BaseProcess] = []  # of the current iterator, and those that have outlived an earlier one
        _contexts.add(self)

    def Queue(self, maxsize: int = 0) -> Queue:  # noqa: N802
        with self._refusal_named():
            return super().Queue(maxsize)

    def Event(self) -> Event:  # noqa: N802
        with self._refusal_named():
            return super().Event()

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # noqa: N802
        process = super().Process(*args, **kwargs)
        process.start = partial(self._start, process)
        return process

    def _start(self, process: BaseProcess) -> None:
        del process.start  # the class's own; a process that is spawned is sent all that it has
        self.processes = [each for each in self.processes if each.exitcode is None]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # until it is deaf for them
        try:
            with self._refusal_named():
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.processes.append(process)

    @contextlib.contextmanager
    def _refusal_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            for process in self.processes:  # the first ones have been started
                process.kill()
                process.join()
            self.processes = []
            why = shared_memory.refusal(error)
            raise TrainingError(f'the data-loading processes cannot be started: {why}') from error


def _begin(init: Callable[[int], object] | None, worker_id: int) -> None:
    signal.set_wakeup_fd(-1)  # the main process's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Only the waiting thread learns who sent it; threads that are started later inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process().pid
    threading.Thread(target=_await_parent, args=(parent,), daemon=True).start()
    private_names.on_queue_feeder_error(_end_with)
    if init is not None:
        init(worker_id)


def _await_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _end_with(error: Exception, batch: object) -> NoReturn:
    line = f'error: a data-loading process, pid {os.getpid()}, cannot hand over a batch: {error}'
    if 'shared memory' in str(error):
        line += f'; {shared_memory.FULL}'
    os.write(2, f'{line}\n'.encode())
    os._exit(1)
