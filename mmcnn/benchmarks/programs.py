"""Programs that run only while it is their turn, such as two trainings whose epochs are measured in turn."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType

from mmcnn.errors import UsageError

#: Lines of a program's output that are shown when it ends too early.
SHOWN = 5
#: Seconds that a program has to end once it was asked to.
GRACE = 10


class Program:
    """A program and all that it starts, stopped by a signal whenever it is not its turn.

    Its output, lines and what is written over them alike, is searched for a mark that says that a lap has ended: an
    epoch, say. A text that was seen before is no new mark, since progress bars write theirs again.

    Args:
        name: what messages call it.
        command: with its arguments.
        mark: matches the end of a lap.
        folder: that it is run in.
    """

    def __init__(self, name: str, command: Sequence[str], mark: str, folder: str | os.PathLike) -> None:
        self.name = name
        self._mark = re.compile(mark)
        self._ends: queue.Queue[float | None] = queue.Queue()
        self._last: deque[str] = deque(maxlen=SHOWN)
        try:
            # A session of its own, so that one signal reaches all that it starts.
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
            )
        except OSError as error:
            raise UsageError(f'{name}: {command[0]} cannot be run: {error.strerror}') from error
        self._signal(signal.SIGSTOP)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._signal(signal.SIGKILL)  # whatever it has left behind
        self._reader.join()
        self._process.stdout.close()

    def lap(self) -> float:
        """Lets it run until the next lap has ended, and gives the seconds that took.

        Raises:
            UsageError: it ended before; the message has the end of what it printed.
        """
        end = self._ended_between_turns()
        start = time.perf_counter()
        self._signal(signal.SIGCONT)
        end = self._ends.get() if end is not None else None
        self._signal(signal.SIGSTOP)
        if end is None:
            code, said = self._process.wait(), '\n'.join(self._last)
            raise UsageError(
                f'{self.name}: the program ended with exit code {code} before it had said often enough that an epoch '
                f'has ended (looked for: {self._mark.pattern}). The end of its output:\n{said}'
            )
        return end - start

    def _ended_between_turns(self) -> float | None:
        """Forgets laps that ended after the last turn and before the signal came; None: the program has ended."""
        end: float | None = 0.0
        while end is not None and not self._ends.empty():
            end = self._ends.get()
        return end

    def _read(self) -> None:
        seen, rest = set(), ''
        while piece := self._process.stdout.read1():
            *lines, rest = re.split(r'[\r\n]+', rest + piece.decode(errors='replace'))
            for line in lines:
                if line.strip():
                    self._last.append(line)
                found = self._mark.search(line)
                if found and found[0] not in seen:
                    seen.add(found[0])
                    self._ends.put(time.perf_counter())
        self._ends.put(None)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
