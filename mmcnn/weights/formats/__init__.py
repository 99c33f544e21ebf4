"""Decoding of files into arrays: one module for each kind of file.

Here is what is told of a file before it is read as anything.
"""

import contextlib
import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mmcnn.errors import CheckpointError
from mmcnn.weights.report import NAMED_KEYS

#: Bytes of a file; no training state of a network of this package comes near it.
MAX_FILE = 2**34


class SameFile:
    """A file that was opened once and must be the same and unchanged whenever it is opened again.

    Attributes:
        path: as it was given, for messages.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """``file``: the path, opened."""
        self.path = path
        self._absolute = path.absolute()
        self._identity = _identity(os.fstat(file.fileno()))

    @property
    def place(self) -> Path:
        """Where it can be read: the path as it was given, unless the working folder has changed."""
        return self.path if self.path.absolute() == self._absolute else self._absolute

    def open(self) -> BinaryIO:
        """Open it again.

        Raises:
            CheckpointError: it has changed since the first time, or is gone.
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
        """For readers that open a path themselves: :attr:`place`, which is the same file before and after.

        Raises:
            CheckpointError: as :meth:`open`.
        """
        self.open().close()
        yield self.place
        self.open().close()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def check_file(path: Path) -> None:
    """Raise CheckpointError for what can be told without reading the file: it is not there, or empty."""
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder, not a checkpoint file')
    if not path.is_file():
        if not path.parent.is_dir():
            raise CheckpointError(f'{path} does not exist, nor does its folder')
        others = [other.name for other in path.parent.iterdir() if other.suffix == path.suffix]
        others.sort(key=lambda name: -difflib.SequenceMatcher(None, path.name, name).ratio())
        nearest = f'; in its folder there is {", ".join(others[:NAMED_KEYS])}' if others else ''
        raise CheckpointError(f'{path} does not exist{nearest}')
    if path.stat().st_size == 0:
        raise CheckpointError(f'{path} is empty')


def refuse_enormous(path: Path) -> None:
    """Raise CheckpointError for a file whose reading could take all memory, whatever it says of its contents."""
    gib = path.stat().st_size / 2**30
    if gib > MAX_FILE / 2**30:
        raise CheckpointError(f'{path} is refused: it has {gib:.0f} GiB, more than any file of these networks')


def first_line(path: Path) -> str | None:
    """Return the first line of what looks like a text file (at most 60 characters), else None."""
    with path.open('rb') as file:
        head = file.read(200)
    line = head.decode('utf-8', errors='replace').lstrip('\ufeff').strip().partition('\n')[0].strip()[:60]
    return line if line.isprintable() and '\ufffd' not in line else None
