"""The console: the only way in which a run prints to the user."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmcnn.launchers import rank

from . import layout

#: Lines of a head at most; with the one that says that the data is being checked, 15.
HEAD_LINES = 14
#: Seconds between two changes of the live line.
_REFRESH = 0.1
# A file may be called anything, but its name must not steer a terminal.
_CONTROL = re.compile(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')


class Console:
    """Prints messages for the user on standard output, in the first of several processes only.

    A terminal has one live line for the progress, rewritten by rich; other text appears above it, also what Python code
    prints or warns of. Everywhere else (a pipe, a file, a notebook) there are plain lines without control characters,
    each written at once. Text that cannot be written, because a pipe is closed for example, does not end a run.

    Args:
        verbose: the lines of MMEngine's log are printed, too.
        launcher: what has started the processes of this run, 'none', 'pytorch', 'slurm' or 'mpi'.

    Attributes:
        log: takes each text that is printed, except for the progress; a run sets it to its log file.
    """

    def __init__(self, verbose: bool = False, launcher: str = 'none') -> None:
        self.verbose = verbose
        self.log: Callable[[str], Any] | None = None
        self._silent = rank(launcher) != 0
        self._process = os.getpid()
        self._live: Any = None  # rich's
        self._screen: Any = None  # rich's, while there is a live line
        self._refreshed = 0.0

    @property
    def is_terminal(self) -> bool:
        """Whether standard output is a terminal that can rewrite a line."""
        if os.environ.get('TERM') in ('dumb', 'unknown'):
            return False
        try:
            return sys.stdout.isatty()
        except (AttributeError, ValueError):  # there is none, or it is closed
            return False

    def line(self, text: str) -> None:
        """Print a line, or several."""
        self.show(text)
        self._to_log(text)

    def warning(self, text: str) -> None:
        """Print a line that begins with ``warning:`` to standard output, in order with all other lines."""
        self.line(f'warning: {text}')

    def head(self, rows: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> None:
        """Print the start of a run, at most ``HEAD_LINES`` lines; the log has all of them.

        Args:
            rows: label and text of each line.
            notes: lines that come after them, warnings for example.
        """
        lines = layout.labelled(rows) + [line for note in notes for line in note.splitlines()]
        shown = lines
        if len(lines) > HEAD_LINES:
            kept = HEAD_LINES - 1
            shown = [*lines[:kept], f'({len(lines) - kept} more lines are in the log)']
        self.show('\n'.join(shown))
        self._to_log('\n'.join(lines))

    def table(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """Print a small table.

        Args:
            title: stands over the first column.
            rows: the names of the other columns, and then a row name with its cells for each row.
        """
        self.line(layout.aligned([title, *rows[0]], rows[1:]))

    def summary(self, rows: Sequence[tuple[str, str]], numbers: Sequence[tuple[str, float]] = ()) -> None:
        """Print the end of a run: labelled lines, and then one line ``NAME = NUMBER`` for each number.

        Args:
            rows: label and text of each line; a line without label belongs to the one above.
            numbers: name and value.
        """
        self.line('\n'.join([*layout.labelled(rows), *(f'{name} = {value:.2f}' for name, value in numbers)]))

    def progress(self, text: str, due: bool = False) -> None:
        """How far a run is: the live line on a terminal, elsewhere a plain line where one is due.

        Args:
            text: one line; what the terminal has no room for is cut off.
            due: whether a plain line should be printed. A verbose console has those of MMEngine instead.
        """
        if self._silent:
            return
        if not self.is_terminal:
            if due and not self.verbose:
                self.show(text)
            return
        now = time.monotonic()
        if due or self._live is None or now - self._refreshed >= _REFRESH:
            self._refreshed = now
            with contextlib.suppress(OSError, ValueError):
                self._rewrite(_printable(text))

    def end_progress(self) -> None:
        """Take the live line away."""
        live, self._live, self._screen = self._live, None, None
        if live is not None:
            with contextlib.suppress(OSError, ValueError):
                live.stop()

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """While a run lasts; whatever ends it, the live line and the run's log are let go of."""
        try:
            yield
        finally:
            self.end_progress()
            self.log = None

    def show(self, text: str) -> None:
        """Print lines without writing them to the log: what comes from there."""
        if self._silent or sys.stdout is None:
            return
        text = _printable(text)
        # A run of hours does not end because nobody listens any more.
        with contextlib.suppress(OSError, ValueError):
            if self._screen is not None and os.getpid() == self._process:
                self._screen.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
                return
            output = getattr(sys.stdout, 'rich_proxied_file', sys.stdout)
            encoding = getattr(output, 'encoding', None) or 'utf-8'
            text = text.encode(encoding, 'backslashreplace').decode(encoding)
            if self.is_terminal and os.getpid() != self._process:
                # A data-loading process does not know the live line, which is drawn anew with the next step.
                text = f'\r\x1b[2K{text}'
            output.write(f'{text}\n')
            output.flush()

    def _to_log(self, text: str) -> None:
        if self.log is not None:
            self.log(text)

    def _rewrite(self, text: str) -> None:
        from rich.live import Live  # takes 30 ms, and only terminals need it
        from rich.text import Text

        line = Text(text, no_wrap=True, overflow='ellipsis')
        if self._live is None:
            self._screen = _screen()
            # Without a thread that refreshes: data-loading processes are forked, and a lock that it holds would stay
            # locked in them for ever.
            self._live = Live(line, console=self._screen, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        else:
            self._live.update(line, refresh=True)


def _screen() -> Any:
    from rich.console import Console as Screen

    class CursorStays(Screen):
        """Keeps the cursor visible, because a run that is killed could not restore it."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    return CursorStays(force_terminal=True, force_jupyter=False)


def _printable(text: str) -> str:
    return _CONTROL.sub('?', text.replace('\t', '    '))
