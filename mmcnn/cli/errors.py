"""Errors on the command line: one sentence and an exit code instead of a traceback."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmcnn.compat.moved import moved_names
from mmcnn.errors import MmcnnError, StoppedError

__getattr__ = moved_names(__name__)


@contextlib.contextmanager
def friendly_errors() -> Iterator[None]:
    """End a command with the message and exit code of an error; 130 after Ctrl-C, 141 if the output is closed.

    ``MMCNN_TRACEBACK=1`` shows the traceback instead. Errors inside the program always show it.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (MmcnnError, KeyboardInterrupt) as error:
        if os.environ.get('MMCNN_TRACEBACK') == '1':
            raise
        if isinstance(error, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        stopped = isinstance(error, StoppedError)
        print(f'{"" if stopped else "error: "}{error}', file=sys.stderr, flush=True)
        sys.exit(128 + error.signum if stopped else 1)  # as a shell reports a signal


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Print warnings of mmcnn's own code as one line, without the line of Python that they are about."""
    package, usual = f'{Path(__file__).parents[1]}{os.sep}', warnings.formatwarning

    def shown(message: Warning | str, category: type[Warning], filename: str, *others: Any, **more: Any) -> str:
        if filename.startswith(package) and category is UserWarning:
            return f'warning: {message}\n'
        return usual(message, category, filename, *others, **more)

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _nobody_reads() -> bool:
    """Return whether the reader of the output, ``head`` for example, has closed it."""
    if not hasattr(select, 'poll'):  # Windows, which has no way to ask
        return False
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # errors are always reported
    return any(event & select.POLLERR for _, event in output.poll(0))
