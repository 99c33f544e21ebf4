"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

#: Ending of a file that is being written.
PART = '.part'
#: Where a folder cannot be synchronised; the renaming itself is whole all the same.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def write_whole(path: str | Path, write: Callable[[BinaryIO], object], shared: bool = False) -> None:
    """Write a file so that a kill or a power cut at any moment leaves the old one or the new one.

    The content goes to ``PATH.part``, is flushed to the disk (fsync) and then renamed.

    Args:
        path: of the file; its folder has to be there.
        write: takes the open file.
        shared: several processes may write the file at once, and the last one's stays. Each has a part of its own name
            then, which nobody finds again after a kill; without, the next one to write takes the place of it.

    Raises:
        OSError: no space, no permission, no folder; the old file is as it was, and the part is removed if it can be.
    """
    path = Path(path)
    part = path.with_name(f'{path.name}.{uuid.uuid4().hex}{PART}' if shared else path.name + PART)
    try:
        with part.open('wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        # torch.save hides the reason behind a RuntimeError of its own.
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Write the renaming itself to the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
