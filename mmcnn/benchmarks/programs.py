"""Programs that run only when it is their turn, such as two trainings whose epochs are measured in turn."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from mmcnn.errors import UsageError

#: Number of lines of a program's output that are shown if it ends too early.
SHOWN = 5
#: Seconds that a program has to end after it was asked to.
GRACE = 10


class Program:
    """A program and its children, stopped by a signal whenever it is not its turn.

    Its output, including overwritten lines, is searched for a mark of the end of a lap, such as an epoch. A text that
    has occurred before is not a new mark, since progress bars repeat theirs.

    Args:
        name: name in messages.
        command: command with its arguments.
        mark: pattern for the end of a lap.
        folder: working folder.
    """

    def __init__(self, name: str, command: Sequence[str], mark: str, folder: str | os.PathLike) -> None:
        self.name = name
        self._mark = pattern(mark)
        self._ends: queue.Queue[float | None] = queue.Queue()
        self._last: deque[str] = deque(maxlen=SHOWN)
        # A separate session, so that one signal reaches all children.
        self._process = _started(name, command, folder, start_new_session=True)
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
        self._signal(signal.SIGKILL)  # anything it has left behind
        self._reader.join()
        self._process.stdout.close()

    def lap(self) -> float:
        """Let it run until the next lap has ended, and return the seconds that it took.

        Raises:
            UsageError: it ended before; the message has the end of its output.
        """
        end = self._ended_between_turns()
        start = time.perf_counter()
        self._signal(signal.SIGCONT)
        end = self._ends.get() if end is not None else None
        self._signal(signal.SIGSTOP)
        if end is None:
            code, said = self._process.wait(), '\n'.join(self._last)
            raise UsageError(
                f'{self.name}: the program ended with exit code {code} before it had reported the end of enough epochs '
                f'(looked for: {self._mark.pattern}). The end of its output:\n{said}'
            )
        return end - start

    def _ended_between_turns(self) -> float | None:
        """Discard laps that ended between the last turn and the signal; None: the program has ended."""
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


def named_command(text: str) -> tuple[str, list[str]]:
    """Split ``NAME=COMMAND``, the command like a shell.

    Raises:
        UsageError: it does not have this form.
    """
    name, equals, command = text.partition('=')
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--peer '{text}': the command cannot be parsed ({error})") from error
    if not (name and equals and words):
        raise UsageError(f"--peer '{text}' must be NAME=COMMAND, such as 'other=/path/to/python train.py'")
    return name, words


def other_programs(texts: Sequence[str] | None, own: Iterable[str]) -> dict[str, list[str]]:
    """Return commands by name.

    Args:
        texts: each as :func:`named_command` takes it; None: there are none.
        own: names of other sides.

    Raises:
        UsageError: a text has another form, or a name occurs twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts or ():
        name, command = named_command(text)
        if name in found or name in own:
            raise UsageError(f"--peer '{text}': there is already a side called {name}; choose another name")
        found[name] = command
    return found


def pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression that a user has given.

    Raises:
        UsageError: it is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"'{text}' is no regular expression ({error})") from error


def _started(name: str, command: Sequence[str], folder: str | os.PathLike, **settings: Any) -> subprocess.Popen:
    """Start a program whose output is read while it runs; Python then writes each line at once, also to a pipe."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
    try:
        return subprocess.Popen(command, cwd=folder, env=environment, **pipes, **settings)
    except OSError as error:
        raise UsageError(f'{name}: {command[0]} cannot be run: {error.strerror}') from error


def rate_of_marks(name: str, command: Sequence[str], mark: str, folder: str | os.PathLike) -> float:
    """Run a program once and return how many marks per second its output has, from the first to the last.

    Args:
        name: name in messages.
        command: command with its arguments. A program that is not Python's must not keep back its output.
        mark: pattern for what is counted, such as an image.
        folder: working folder.

    Raises:
        UsageError: it cannot be run, fails, or prints fewer than two different marks.
    """
    compiled, found = pattern(mark), {}
    last: deque[str] = deque(maxlen=SHOWN)
    with _started(name, command, folder, text=True, errors='replace') as process:
        for line in process.stdout:
            last.append(line.rstrip())
            if seen := compiled.search(line):
                found.setdefault(seen[0], time.perf_counter())
    times = list(found.values())
    if process.returncode or len(times) < 2:
        raise UsageError(
            f'{name}: the program ended with exit code {process.returncode} and has reported {len(times)} images '
            f'(looked for: {mark}). The end of its output:\n' + '\n'.join(last)
        )
    return (len(times) - 1) / (times[-1] - times[0])
