"""Decoding of files into arrays: one module for each kind of file.

This module has the checks that come before a file is decoded.
"""

import contextlib
import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mmcnn.errors import CheckpointError
from mmcnn.weights.report import NAMED_KEYS

#: Bytes of a file; the training states of this package's networks are far smaller.
MAX_FILE = 2**34


class SameFile:
    """A file that was opened once and must be the same and unchanged whenever it is opened again.

    Attributes:
        path: the path as given, for messages.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """``file``: the opened path."""
        self.path = path
        self._absolute = path.absolute()
        self._identity = _identity(os.fstat(file.fileno()))

    @property
    def place(self) -> Path:
        """The path to read it at: the path as given, unless the working folder has changed."""
        return self.path if self.path.absolute() == self._absolute else self._absolute

    def open(self) -> BinaryIO:
        """Open it again.

        Raises:
            CheckpointError: it has changed since the first time, or no longer exists.
        """
        try:
            file = self.place.open('rb')
        except OSError as error:
            raise CheckpointError(f'{self.path} has changed since it was opened: {error.strerror}') from error
        if _identity(os.fstat(file.fileno())) != self._identity:
            file.close()
            raise CheckpointError(f'{self.path} has changed since it was opened')
        return file

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[Path]:
        """Yield :attr:`place` for readers that open a path themselves, and check the file before and after.

        Raises:
            CheckpointError: see :meth:`open`.
        """
        self.open().close()
        yield self.place
        self.open().close()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def check_file(path: Path) -> None:
    """Raise CheckpointError for a file that is missing or empty, without reading it."""
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder, not a checkpoint file')
    if not path.is_file():
        if not path.parent.is_dir():
            raise CheckpointError(f'{path} does not exist, and neither does its folder')
        others = [other.name for other in path.parent.iterdir() if other.suffix == path.suffix]
        others.sort(key=lambda name: -difflib.SequenceMatcher(None, path.name, name).ratio())
        nearest = f'; its folder contains {", ".join(others[:NAMED_KEYS])}' if others else ''
        raise CheckpointError(f'{path} does not exist{nearest}')
    if path.stat().st_size == 0:
        raise CheckpointError(f'{path} is empty')


def refuse_enormous(path: Path) -> None:
    """Raise CheckpointError for a file so large that reading it could exhaust the memory."""
    gib = path.stat().st_size / 2**30
    if gib > MAX_FILE / 2**30:
        raise CheckpointError(f'{path} was rejected: it has {gib:.0f} GiB, more than any file of these networks')


def first_line(path: Path) -> str | None:
    """Return the first line of what looks like a text file (at most 60 characters), else None."""
    with path.open('rb') as file:
        head = file.read(200)
    line = head.decode('utf-8', errors='replace').lstrip('\ufeff').strip().partition('\n')[0].strip()[:60]
    return line if line.isprintable() and '\ufffd' not in line else None
