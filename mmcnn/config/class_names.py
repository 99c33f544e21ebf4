"""Class names for a file that does not contain them: from an option or a text file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmcnn.errors import UsageError

#: Suffixes of files with one name per line; Darknet's are called ``coco.names``.
NAME_FILES = ('.names', '.txt')


def class_names(given: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return the names in ``'cat,dog'``, in a list of names, or on the lines of a file (``coco.names``).

    Raises:
        UsageError: the file cannot be read, there are no names, or a name is empty or occurs twice.
    """
    if isinstance(given, str | os.PathLike):
        if str(given).endswith(NAME_FILES):
            names = _lines(Path(given).expanduser())
        else:
            names = [name.strip() for name in str(given).split(',')]
    else:
        names = list(given)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UsageError(f'classes={given!r}: give names separated by commas, or a file with one name per line')
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f'classes={given!r}: {twice!r} occurs more than once')
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'
        raise UsageError(f'classes={path}: the file cannot be read: {reason}') from error
    while lines and not lines[-1].strip():  # empty lines at the end are not classes
        lines.pop()
    return [line.strip() for line in lines]
