"""The console: all output of a run to the user goes through it."""

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

#: Maximum number of lines of a head; 15 with the line about the running data check.
HEAD_LINES = 14
#: Minimum seconds between two changes of the live line.
_REFRESH = 0.1
# File names are untrusted: they must not contain terminal control sequences.
_CONTROL = re.compile(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')


class Console:
    """Prints messages for the user on standard output, in the first of several processes only.

    A terminal has one live line for the progress, rewritten by rich; other text appears above it, including prints and
    warnings of Python code. Everywhere else (a pipe, a file, a notebook) there are plain lines without control
    characters, each written at once. Text that cannot be written, for example to a closed pipe, does not end a run.

    Args:
        verbose: whether to print the lines of MMEngine's log, too.
        launcher: launcher of this run's processes: 'none', 'pytorch', 'slurm' or 'mpi'.

    Attributes:
        log: called with each printed text, except for the progress; a run sets it to its log file.
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
        except (AttributeError, ValueError):  # standard output is missing or closed
            return False

    def line(self, text: str) -> None:
        """Print a line, or several."""
        self.show(text)
        self._to_log(text)

    def warning(self, text: str) -> None:
        """Print a line that begins with ``warning:`` to standard output, in order with all other lines."""
        self.line(f'warning: {text}')

    def head(self, rows: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> None:
        """Print the start of a run in at most ``HEAD_LINES`` lines; the log has all of them.

        Args:
            rows: label and text of each line.
            notes: lines after them, warnings for example.
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
            title: head of the first column.
            rows: the heads of the other columns, followed by a name and its cells for each row.
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
        """Show the progress of a run: the live line on a terminal, elsewhere a plain line if one is due.

        Args:
            text: one line; it is cut off at the width of the terminal.
            due: whether a plain line should be printed. A verbose console prints MMEngine's lines instead.
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
        """Remove the live line."""
        live, self._live, self._screen = self._live, None, None
        if live is not None:
            with contextlib.suppress(OSError, ValueError):
                live.stop()

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Print during a run; at its end, however it ends, release the live line and the run's log."""
        try:
            yield
        finally:
            self.end_progress()
            self.log = None

    def show(self, text: str) -> None:
        """Print lines without writing them to the log, for text that comes from there."""
        if self._silent or sys.stdout is None:
            return
        text = _printable(text)
        # A long run does not end because nobody reads its output any more.
        with contextlib.suppress(OSError, ValueError):
            if self._screen is not None and os.getpid() == self._process:
                self._screen.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
                return
            output = getattr(sys.stdout, 'rich_proxied_file', sys.stdout)
            encoding = getattr(output, 'encoding', None) or 'utf-8'
            text = text.encode(encoding, 'backslashreplace').decode(encoding)
            if self.is_terminal and os.getpid() != self._process:
                # A data-loading process does not know the live line, which is redrawn at the next step.
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
            # Without a refresh thread: data-loading processes are forked, and a lock that the thread holds would stay
            # locked in them for ever.
            self._live = Live(line, console=self._screen, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        else:
            self._live.update(line, refresh=True)


def _screen() -> Any:
    from rich.console import Console as Screen

    class CursorStays(Screen):
        """A screen that keeps the cursor visible, because a killed run could not restore it."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    return CursorStays(force_terminal=True, force_jupyter=False)


def _printable(text: str) -> str:
    return _CONTROL.sub('?', text.replace('\t', '    '))
