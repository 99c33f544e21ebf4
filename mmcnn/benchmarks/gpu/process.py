"""Measurements in a process of their own: one that dies, hangs or breaks CUDA for its process stops no other."""

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

#: What a process says: values, the end of a measurement, and whether it can do another.
_VALUES, _END = 'values', 'end'


class Worker:
    """Runs one measurement after the other in a process that it starts, and starts anew where that has ended.

    Args:
        log: file that takes what the process prints, tracebacks too.
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
        """Runs a measurement.

        Args:
            measurement: what to run.
            circumstances: what it is given.
            seconds: that it may take.
            latest: seconds after which it is ended.
            report: takes values as they come.

        Returns:
            What it failed of, in a sentence; None: it is done.
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
                    return f'ended after {latest:.0f} s, which is longer than it may take'
                kind, content = self._connection.recv()
                if kind == _VALUES:
                    report(**content)
                elif kind == _END:
                    failure, usable = content
                    if not usable:
                        self._kill()
                    return failure
        except (EOFError, OSError):
            return f'its process has died{self._cause()}'
        except BaseException:  # a signal ends the check: this one is not waited for
            self._kill()
            raise

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._connection.send(None)
            self._process.join(5)
            self._kill()

    def _start(self, environment: dict[str, str]) -> None:
        self._environment = environment
        context = multiprocessing.get_context('spawn')  # a fork could not use a CUDA that this process has looked at
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
            os.killpg(self._process.pid, signal.SIGKILL)  # its data-loading processes, too
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._process = self._connection = None


def _serve(connection: Connection, environment: dict[str, str], log: str) -> None:
    """The process: takes measurements until there are no more."""
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
    """Ends this process and those that it started once the check has been killed: else they would keep the device."""
    multiprocessing.parent_process().join()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _run(measurement: Measurement, circumstances: Circumstances, seconds: float, connection: Connection) -> str | None:
    from mmcnn.runs.process_state import kept_process_state

    def report(**values: Any) -> None:
        connection.send((_VALUES, values))

    try:
        with kept_process_state():
            measurement.function(circumstances, Timer(seconds), report, **measurement.arguments)
    except Exception as error:  # of whatever kind: it is the result of this measurement
        traceback.print_exc(file=sys.stderr)
        where = traceback.extract_tb(error.__traceback__)[-1]
        first = (str(error).strip().splitlines() or [''])[0]
        return f'{type(error).__name__}: {first} ({where.filename}:{where.lineno})'
    return None


def _clean(device: str) -> bool:
    """Frees what a measurement has left; False where CUDA can do nothing more in this process."""
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
