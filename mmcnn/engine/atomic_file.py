"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

#: Suffix of a file that is being written.
PART = '.part'
#: Errors of folders that cannot be synchronised; the renaming is still atomic.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def write_whole(path: str | Path, write: Callable[[BinaryIO], object], shared: bool = False) -> None:
    """Write a file so that a kill or a power cut at any moment leaves either the old or the new file.

    The content goes to ``PATH.part``, is flushed to the disk (fsync) and then renamed.

    Args:
        path: path of the file; its folder must exist.
        write: called with the open file.
        shared: whether several processes may write the file at once; the last one wins. The temporary files then have
            different names, and those left by a kill are never removed; otherwise the next write replaces it.

    Raises:
        OSError: no space, no permission, no folder; the old file is unchanged, and the temporary file is removed if
            possible.
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
        # torch.save hides the reason behind a RuntimeError.
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
