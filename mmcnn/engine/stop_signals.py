"""SIGTERM and Ctrl-C as requests to stop, with a watchdog for a process that cannot react."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds until a second Ctrl-C counts: launchers repeat the one that the terminal has already sent.
_SECOND_AFTER = 2.0
#: Contexts that are open in this process.
_OPEN: set[StopSignals] = set()


def end_now(code: int, line: str) -> NoReturn:
    """End this process and its children, whatever its threads are doing."""
    os.write(2, f'{line}\n'.encode())
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


class StopSignals:
    """Context in which SIGTERM and SIGINT are stored in ``signum`` instead of ending the process.

    The main thread calls :meth:`asked` after every step. If it does not for ``patience`` seconds after a signal, for
    example because it waits for another process, a thread ends the process with 128 + the signal's number (143, 130). A
    second Ctrl-C ends it at once. Outside of the main thread the context does nothing.

    Args:
        patience (float): Seconds.
        before_end (Callable): Called before the process is ended.
    """

    def __init__(self, patience: float, before_end: Callable[[], None] = lambda: None) -> None:
        self.patience = patience
        self.before_end = before_end
        self.signum: int | None = None
        self._came_round = 0.0
        self._first = 0.0
        self._busy = False
        self._active = False

    def asked(self) -> bool:
        """Return whether a signal was received; show the watchdog that the main thread is alive."""
        self._came_round = time.monotonic()
        return self.signum is not None

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Pause the watchdog, for writing, which may take long."""
        self._busy = True
        try:
            yield
        finally:
            self._came_round = time.monotonic()
            self._busy = False

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._active = True
        self._ears, mouth = socket.socketpair()
        mouth.setblocking(False)
        self._mouth = mouth
        # C code writes the signal's number there, even while Python code cannot run.
        self._old_descriptor = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        self._old = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        _OPEN.add(self)
        self._thread = threading.Thread(target=self._watch, name='mmcnn-stop-signals', daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._active:
            return
        self._active = False
        _OPEN.discard(self)
        for signum, handler in self._old.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._old_descriptor)
        self._mouth.send(b'\0')
        self._thread.join()
        self._mouth.close()
        self._ears.close()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signum is None:
            self.signum, self._first = signum, now
            line = f'{signal.Signals(signum).name}: stopping after this step, with a checkpoint'
            if signum == signal.SIGINT:
                line += '; press Ctrl-C again to end at once'
            os.write(2, f'{line}\n'.encode())  # the signal may have interrupted print()
        elif signum == signal.SIGINT and now - self._first > _SECOND_AFTER:
            self.before_end()
            end_now(128 + signum, 'ended at once; the last checkpoint is complete')

    def _watch(self) -> None:
        heard: tuple[int, float] | None = None
        while self._active:
            if select.select([self._ears], [], [], 0.5)[0]:
                numbers = [number for number in self._ears.recv(64) if number in SIGNALS]
                if numbers and heard is None:
                    heard = numbers[0], time.monotonic()
            if heard is None or self._busy or not self._active:
                continue
            signum, since = heard
            if time.monotonic() - max(since, self._came_round) > self.patience:
                name = signal.Signals(signum).name
                self.before_end()
                end_now(
                    128 + signum,
                    f'{name}: the step did not end within {self.patience:g} s, so no checkpoint was written; the last '
                    'one is complete',
                )


def _let_go_in_child() -> None:
    """Let SIGTERM end a forked process, as its parent expects, instead of informing the watchdog.

    Metrics of MMDetection evaluate in a pool of processes, which are ended in this way.
    """
    if _OPEN:
        _OPEN.clear()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, 'register_at_fork'):  # Windows forks no processes
    os.register_at_fork(after_in_child=_let_go_in_child)
