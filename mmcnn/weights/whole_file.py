"""Files that are written whole or not at all, and the last whole checkpoint of a run."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import read_checkpoint

#: Ending of a file that is being written.
PART = '.part'
#: Checkpoints of a training, in the names that MMEngine's and our hook give them.
_CHECKPOINTS = ('epoch_*.pth', 'iter_*.pth', 'stopped_at_iter_*.pth')
#: Where a folder cannot be synchronised; the renaming itself is whole all the same.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file so that a kill or a power cut at any moment leaves the old one or the new one.

    The content goes to ``PATH.part``, is flushed to the disk (fsync) and then renamed.

    Args:
        path: of the file; its folder has to be there.
        write: takes the open file.

    Raises:
        OSError: no space, no permission, no folder; the old file is as it was, and the part is removed if it can be.
    """
    path = Path(path)
    part = path.with_name(path.name + PART)
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
    """The renaming itself goes to the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def check_writable(folder: str | Path) -> None:
    """Makes a folder, and tries whether files can be written there.

    Raises:
        CheckpointError: names the folder and the reason.
    """
    folder = Path(folder)
    trial = folder / f'trial-{os.getpid()}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(bytes(4096))
        trial.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            trial.unlink()
        raise CheckpointError(f'nothing can be written to {folder}: {error.strerror}') from error


def checkpoints_in(folder: Path) -> set[Path]:
    """The checkpoints of a training in a folder, but for the best one."""
    return {path for pattern in _CHECKPOINTS for path in folder.glob(pattern)}


def last_checkpoint(folder: str | Path) -> tuple[Path, dict, list[str]] | None:
    """The last checkpoint of a run that can be resumed from.

    That is the one that the file ``last_checkpoint`` names; where that one is gone or damaged, the newest of the folder
    that is whole.

    Args:
        folder: the work dir.

    Returns:
        its path, its content, and a sentence for each that was passed over; None: the run has not written any.

    Raises:
        CheckpointError: none of them can be used.
    """
    folder = Path(folder)
    record = folder / 'last_checkpoint'
    if not record.is_file():
        return None
    named = Path(record.read_text(encoding='utf-8', errors='replace').strip())
    # The folder may have been moved since.
    first = folder / named.name if (folder / named.name).is_file() else named
    others = checkpoints_in(folder) - {first}
    refused: list[CheckpointError] = []
    for path in [first, *sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)]:
        try:
            return path, read_resumable(path), [str(error) for error in refused]
        except CheckpointError as error:
            refused.append(error)
    raise refused[0]


def read_resumable(path: str | Path) -> dict:
    """A checkpoint with everything that a run needs to go on.

    Raises:
        CheckpointError: as :func:`~mmcnn.weights.checkpoint.read_checkpoint`, or it holds weights only.
    """
    checkpoint = read_checkpoint(path)
    if 'optimizer' not in checkpoint or 'meta' not in checkpoint:
        raise CheckpointError(f'{path} holds weights only, no optimizer: use load_from={path}')
    return checkpoint
