"""Data-loading processes that leave signals to the main process and whose death is explained."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple, NoReturn, TypeVar

from torch.utils.data import DataLoader, IterableDataset

from mmcnn.compat import private_names
from mmcnn.engine import shared_memory
from mmcnn.engine.batch_transport import InOneBlock
from mmcnn.errors import TrainingError

#: macOS and Windows do not tell who sent a signal: SIGTERM ends a worker there, whoever sent it.
_TELLS_SENDER = hasattr(signal, 'sigwaitinfo')
#: Seconds until the system reports the end of a process whose connection is closed.
_JOIN = 0.2
#: Seconds to wait for a lock that processes hold for microseconds, unless they are killed meanwhile.
_PATIENCE = 1.0
_contexts: weakref.WeakSet[_WorkerContext] = weakref.WeakSet()
Given = TypeVar('Given')

private_names.delete_unstarted_iterators_quietly()


def guard_workers(loader: DataLoader) -> None:
    """Make the loader's workers ignore Ctrl-C and SIGTERM, unless the main process sends it.

    Terminals, Slurm and systemd send these to every process. A worker that ends then would lose the batch that the main
    process needs to finish its step. A worker that cannot send a batch prints the reason and ends; otherwise the main
    process would wait for that batch for ever. If workers cannot be started, a
    :class:`~mmcnn.errors.TrainingError` of one sentence is raised, and :func:`worker_death` explains those that die.
    Batches are sent as in :mod:`mmcnn.engine.batch_transport`. Only affects workers that are started later.
    """
    if loader.num_workers == 0 or isinstance(loader.multiprocessing_context, _WorkerContext):
        return
    base = type(loader.multiprocessing_context or multiprocessing.get_context())
    loader.multiprocessing_context = type('WorkerContext', (_WorkerContext, base), {})()
    loader.multiprocessing_context.is_iterable = isinstance(loader.dataset, IterableDataset)
    loader.worker_init_fn = partial(_begin, loader.worker_init_fn)
    loader.collate_fn = InOneBlock(loader.collate_fn)


def worker_death(error: Exception) -> str | None:
    """Return a sentence if an error may be caused by the death of data-loading processes of guarded loaders.

    Each death is reported once. PyTorch's own error is a RuntimeError that may arise anywhere in the main thread; if a
    worker dies while it sends a batch, the main process only sees a closed connection or missing shared memory. More
    special errors, such as those of GPU memory, have other causes.
    """
    if type(error) is not RuntimeError and not isinstance(error, OSError | EOFError):
        return None
    dead = _despite_news(_find_dead)
    if not dead:
        return None
    _despite_news(lambda: _forget(dead))
    signals = {signal.strsignal(-code) or '' for code in dead.values() if code < 0}
    how = f' ({", ".join(sorted(signals))})' if any(signals) else ''
    return (
        f'a data-loading process, pid {", ".join(str(process.pid) for process in dead)}, has died{how}; most often the '
        'machine has run out of memory, or /dev/shm is full: use fewer workers or a smaller batch size'
    )


def forget_deaths() -> None:
    """Forget the workers that have ended so far: they are not the cause of later errors."""
    _despite_news(lambda: _forget([each.process for each in _started() if each.process.exitcode is not None]))


def _despite_news(act: Callable[[], Given]) -> Given:
    """Return the result of ``act``, during which PyTorch's SIGCHLD handler may raise once per PyTorch iterator."""
    while True:
        with contextlib.suppress(RuntimeError):
            return act()


def _find_dead() -> dict[BaseProcess, int]:
    """Return the processes that have died, and their exit codes."""
    if not any(each.has_died() for each in _started()):
        alive = {each.process.sentinel: each.process for each in _started() if each.process.exitcode is None}
        for sentinel in connection.wait([*alive], _JOIN):
            alive[sentinel].join(_JOIN)
    return {each.process: each.process.exitcode for each in _started() if each.has_died()}


def _forget(processes: Collection[BaseProcess]) -> None:
    for context in _contexts:
        context.workers = [each for each in context.workers if each.process not in processes]


def _started() -> list[_Worker]:
    return [each for context in _contexts for each in context.workers]


class _ShutDown(Event):
    """The event by which an iterator tells its workers to stop."""

    #: Whether a worker may end by itself; readable without the lock, which a killed worker may hold.
    ends_workers = False
    _is_set_here = False

    def set(self) -> None:
        self.ends_workers = self._is_set_here = True
        if not private_names.stays_locked(self, _PATIENCE):
            super().set()
            return
        for each in _started():  # those that live would wait for the lock as well
            if each.shut_down is self:
                each.process.terminate()

    def is_set(self) -> bool:
        return self._is_set_here or super().is_set()


class _Worker(NamedTuple):
    process: BaseProcess
    shut_down: _ShutDown

    def has_died(self) -> bool:
        """Return whether a worker ended before its iterator; ``os._exit(0)`` in a data set counts as well."""
        code = self.process.exitcode
        return code is not None and (code != 0 or not self.shut_down.ends_workers)


class _WorkerContext:
    """Mixed into a multiprocessing context that starts a ``DataLoader``'s workers; keeps track of its workers."""

    is_iterable = False  # whether the data set is iterable: each worker ends with its part of it

    def __init__(self) -> None:
        self.workers: list[_Worker] = []  # of the current iterator, and survivors of earlier ones
        _contexts.add(self)

    def Queue(self, maxsize: int = 0) -> Queue:  # noqa: N802
        with self._refusal_named():
            return super().Queue(maxsize)

    def Event(self) -> Event:  # noqa: N802
        """Return the one event of each iterator, which is made before its workers."""
        with self._refusal_named():
            self._shut_down = _ShutDown(ctx=self.get_context())
        self._shut_down.ends_workers = self.is_iterable
        return self._shut_down

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # noqa: N802
        process = super().Process(*args, **kwargs)
        process.start = partial(self._start, process)
        return process

    def _start(self, process: BaseProcess) -> None:
        del process.start  # restores the method of the class; all attributes are sent to a spawned process
        self.workers = [each for each in self.workers if each.process.exitcode is None]
        with self._refusal_named(), _signals_held_back():
            process.start()
        self.workers.append(_Worker(process, self._shut_down))

    @contextlib.contextmanager
    def _refusal_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            for each in self.workers:  # some of them have been started
                each.process.kill()
                each.process.join()
            self.workers = []
            why = shared_memory.refusal(error)
            raise TrainingError(f'the data-loading processes cannot be started: {why}') from error


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """For a worker that is started inside, until it is deaf for them."""
    if not _TELLS_SENDER:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(init: Callable[[int], object] | None, worker_id: int) -> None:
    signal.set_wakeup_fd(-1)  # it belongs to the main process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _TELLS_SENDER:
        # Only a waiting thread learns who sent the signal; threads that are started later inherit the mask.
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
    line = f'error: a data-loading process, pid {os.getpid()}, cannot send a batch: {error}'
    if 'shared memory' in str(error):
        line += f'; {shared_memory.FULL}'
    os.write(2, f'{line}\n'.encode())
    os._exit(1)
