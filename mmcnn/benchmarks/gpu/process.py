"""Measurements in a separate process: one that dies, hangs or breaks CUDA for its process does not stop the others."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mmcnn.benchmarks.gpu.measurement import Circumstances, Measurement, Timer

#: Messages of a process: values, the end of a measurement, and whether it can do another.
_VALUES, _END = 'values', 'end'


class Worker:
    """Runs measurements one after the other in a process that it starts, and restarts when it has ended.

    Args:
        log: file for the output of the process, including tracebacks.
    """

    def __init__(self, log: Path) -> None:
        self._log = str(log)
        self._process: Any = None
        self._connection: Connection | None = None
        self._environment: dict[str, str] = {}

    def run(
        self,
        measurement: Measurement,
        circumstances: Circumstances,
        seconds: float,
        latest: float,
        report: Callable[..., None],
    ) -> str | None:
        """Run a measurement.

        Args:
            measurement: what to run.
            circumstances: its arguments.
            seconds: its time limit.
            latest: seconds after which it is ended.
            report: takes values as they arrive.

        Returns:
            Why it failed, in a sentence; None: it succeeded.
        """
        environment = dict(measurement.environment)
        if self._process is not None and environment != self._environment:
            self.close()
        if self._process is None:
            self._start(environment)
        deadline = time.monotonic() + latest
        try:
            self._connection.send((measurement, circumstances, seconds))
            while True:
                if not self._connection.poll(max(deadline - time.monotonic(), 0)):
                    self._kill()
                    return f'ended after {latest:.0f} s, since it exceeded its time limit'
                kind, content = self._connection.recv()
                if kind == _VALUES:
                    report(**content)
                elif kind == _END:
                    failure, usable = content
                    if not usable:
                        self._kill()
                    return failure
        except (EOFError, OSError):
            return f'its process died{self._cause()}'
        except BaseException:  # a signal ends the check, which does not wait for this one
            self._kill()
            raise

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._connection.send(None)
            self._process.join(5)
            self._kill()

    def _start(self, environment: dict[str, str]) -> None:
        self._environment = environment
        context = multiprocessing.get_context('spawn')  # a fork could not use CUDA after this process has queried it
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, environment, self._log))
        self._process.start()
        theirs.close()
        self._connection = ours

    def _cause(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        self._kill()
        if code is None:
            return ''
        return f' of {signal.Signals(-code).name}' if code < 0 else f' with exit code {code}'

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)  # including its data-loading processes
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._process = self._connection = None


def _serve(connection: Connection, environment: dict[str, str], log: str) -> None:
    """Run the process: process measurements until there are no more."""
    os.setsid()
    with open(log, 'ab') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while (task := connection.recv()) is not None:
        measurement, circumstances, seconds = task
        print(f'\n--- {measurement.stage}: {measurement.name}', flush=True)
        failure = _run(measurement, circumstances, seconds, connection)
        connection.send((_END, (failure, _clean(circumstances.device))))


def _end_with_parent() -> None:
    """End this process and its children when the check has been killed; otherwise they would occupy the device."""
    multiprocessing.parent_process().join()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _run(measurement: Measurement, circumstances: Circumstances, seconds: float, connection: Connection) -> str | None:
    from mmcnn.runs.process_state import kept_process_state

    def report(**values: Any) -> None:
        connection.send((_VALUES, values))

    try:
        with kept_process_state():
            measurement.function(circumstances, Timer(seconds), report, **measurement.arguments)
    except Exception as error:  # any error is the result of this measurement
        traceback.print_exc(file=sys.stderr)
        where = traceback.extract_tb(error.__traceback__)[-1]
        first = (str(error).strip().splitlines() or [''])[0]
        return f'{type(error).__name__}: {first} ({where.filename}:{where.lineno})'
    return None


def _clean(device: str) -> bool:
    """Free what a measurement has left; return False if CUDA is unusable in this process."""
    import torch

    gc.collect()
    if device != 'cuda' or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    except RuntimeError:
        return False
    return True
