"""How the bytes of a file become arrays: one module for each kind of file.

Here is what is told of a file before it is read as anything.
"""

import difflib
from pathlib import Path

from mmcnn.errors import CheckpointError
from mmcnn.weights.report import NAMED_KEYS

#: Bytes of a file; no training state of a network of this package comes near it.
MAX_FILE = 2**34


def check_file(path: Path) -> None:
    """Raises CheckpointError for what can be told without reading the file: it is not there, or empty."""
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
    """Raises CheckpointError for a file whose reading could take all memory, whatever it says of its contents."""
    gib = path.stat().st_size / 2**30
    if gib > MAX_FILE / 2**30:
        raise CheckpointError(f'{path} is refused: it has {gib:.0f} GiB, more than any file of these networks')


def first_line(path: Path) -> str | None:
    """The first line of what looks like a text file (at most 60 characters), else None."""
    with path.open('rb') as file:
        head = file.read(200)
    line = head.decode('utf-8', errors='replace').lstrip('\ufeff').strip().partition('\n')[0].strip()[:60]
    return line if line.isprintable() and '\ufffd' not in line else None
