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
from mmcnn.errors import TrainingError

#: macOS and Windows do not tell who sent a signal: SIGTERM ends a worker there, whoever sent it.
_TELLS_SENDER = hasattr(signal, 'sigwaitinfo')
#: Seconds in which the system is told of the end of a process whose connection has ended.
_JOIN = 0.2
_contexts: weakref.WeakSet[_WorkerContext] = weakref.WeakSet()
Given = TypeVar('Given')

private_names.delete_unstarted_iterators_quietly()


def guard_workers(loader: DataLoader) -> None:
    """Make the loader's workers deaf for Ctrl-C and for a SIGTERM that does not come from the main process.

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
    loader.multiprocessing_context.is_iterable = isinstance(loader.dataset, IterableDataset)
    loader.worker_init_fn = partial(_begin, loader.worker_init_fn)


def worker_death(error: Exception) -> str | None:
    """Return a sentence if an error may be due to the death of data-loading processes of guarded loaders.

    Each death is told once. PyTorch's own error is a RuntimeError that may arise anywhere in the main thread; of a
    worker that dies while it hands a batch over, the main process learns only that the connection has ended, or that
    there is no such shared memory. Errors of a more special kind, as of the memory of a GPU, come of something else.
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
        'machine has run out of memory, or /dev/shm of space: then fewer workers or a smaller batch size help'
    )


def forget_deaths() -> None:
    """Forgets the workers that have ended up to now: no later error comes of them."""
    _despite_news(lambda: _forget([each.process for each in _started() if each.process.exitcode is not None]))


def _despite_news(act: Callable[[], Given]) -> Given:
    """Return the result of ``act``, during which PyTorch's SIGCHLD handler may raise, once per PyTorch iterator."""
    while True:
        with contextlib.suppress(RuntimeError):
            return act()


def _find_dead() -> dict[BaseProcess, int]:
    """Those that have died, and their exit codes."""
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

    #: Known without the lock, which a worker that was killed may hold: whether a worker may end by itself.
    ends_workers = False

    def set(self) -> None:
        self.ends_workers = True
        super().set()


class _Worker(NamedTuple):
    process: BaseProcess
    shut_down: _ShutDown

    def has_died(self) -> bool:
        """Return whether a worker ended other than with its iterator; ``os._exit(0)`` in a data set counts as well."""
        code = self.process.exitcode
        return code is not None and (code != 0 or not self.shut_down.ends_workers)


class _WorkerContext:
    """Mixed into a multiprocessing context that starts a ``DataLoader``'s workers; knows its workers."""

    is_iterable = False  # the data set: each worker ends with its part of it

    def __init__(self) -> None:
        self.workers: list[_Worker] = []  # of the current iterator, and those that have outlived an earlier one
        _contexts.add(self)

    def Queue(self, maxsize: int = 0) -> Queue:  # noqa: N802
        with self._refusal_named():
            return super().Queue(maxsize)

    def Event(self) -> Event:  # noqa: N802
        """Of each iterator: there is one, made before its workers."""
        with self._refusal_named():
            self._shut_down = _ShutDown(ctx=self.get_context())
        self._shut_down.ends_workers = self.is_iterable
        return self._shut_down

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # noqa: N802
        process = super().Process(*args, **kwargs)
        process.start = partial(self._start, process)
        return process

    def _start(self, process: BaseProcess) -> None:
        del process.start  # the class's own; a process that is spawned is sent all that it has
        self.workers = [each for each in self.workers if each.process.exitcode is None]
        with self._refusal_named(), _signals_held_back():
            process.start()
        self.workers.append(_Worker(process, self._shut_down))

    @contextlib.contextmanager
    def _refusal_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            for each in self.workers:  # the first ones have been started
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
    signal.set_wakeup_fd(-1)  # the main process's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _TELLS_SENDER:
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
