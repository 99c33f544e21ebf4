"""Data-loading processes: they leave signals to the main process, and their death has a reason."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from typing import NoReturn

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmcnn.engine import shared_memory

#: Seconds in which the system is told of the end of a process whose connection has ended.
_JOIN = 0.2
_DEATH = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited unexpect)')


def guard_workers(loader: DataLoader) -> None:
    """Makes the loader's workers deaf for Ctrl-C and for a SIGTERM that does not come from the main process.

    Terminals, Slurm and systemd send these to every process. A worker that ends then would take the batch with it that
    the main process needs to finish its step. A worker that cannot hand a batch over says why and ends; else the main
    process would wait for that batch for ever. Acts on workers that are started later.
    """
    init = loader.worker_init_fn
    if not (isinstance(init, partial) and init.func is _start):
        loader.worker_init_fn = partial(_start, init)


def worker_death(error: BaseException) -> str | None:
    """A sentence if an error says that a data-loading process has died, else None."""
    found = _DEATH.search(str(error))
    if not found:
        return None
    pid, reason = found.groups()
    return _has_died(pid, (reason or '').strip())


def dead_worker(loader: DataLoader) -> str | None:
    """A sentence if one of the loader's processes was killed, else None.

    For errors that say nothing of it: a batch that is handed over in that moment ends in the middle.
    """
    for worker in getattr(loader._iterator, '_workers', []):
        try:
            worker.join(_JOIN)
        except RuntimeError as error:  # of PyTorch's handler of the system's news
            return worker_death(error)
        if worker.exitcode is not None and worker.exitcode < 0:
            return _has_died(worker.pid, signal.strsignal(-worker.exitcode) or '')
    return None


def _has_died(pid: int | str, reason: str) -> str:
    how = f' ({reason})' if reason else ''
    return (
        f'a data-loading process, pid {pid}, has died{how}; most often the machine has run out of memory, or '
        '/dev/shm of space: then fewer --workers or a smaller --batch-size help'
    )


def start_failure(error: OSError) -> str | None:
    """A sentence if data-loading processes could not be started, else None."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is _MultiProcessingDataLoaderIter.__init__.__code__:
            # Its __del__ would miss what it has not got yet, and print a traceback.
            frame.f_locals['self']._shutdown = True
            return f'the data-loading processes cannot be started: {shared_memory.refusal(error)}'
    return None


def _start(init: Callable[[int], object] | None, worker_id: int) -> None:
    signal.set_wakeup_fd(-1)  # the main process's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Only the waiting thread learns who sent it; threads that are started later inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process().pid
    threading.Thread(target=_await_parent, args=(parent,), daemon=True).start()
    Queue._on_queue_feeder_error = staticmethod(_end_with)  # prints a traceback and goes on, unless it is replaced
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
