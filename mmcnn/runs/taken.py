"""Exclusive use of a run's folder while the run lasts; the folder is restored if the run does not begin."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process

from mmcnn.config.load import Say
from mmcnn.errors import CheckpointError, MmcnnError
from mmcnn.runs.run_lock import LOCK, RunLock
from mmcnn.runs.work_dirs import WORK_DIRS, unused

#: The folder that MMEngine's Runner makes before a run has begun, named by the second of the start.
_STARTED_AT = re.compile(r'\d{8}_\d{6}')
_Found = TypeVar('_Found')


@contextlib.contextmanager
def taken(cfg: Config, new: bool, begun: Callable[[], bool], say: Say = print) -> Iterator[Path]:
    """Hold the folder of a run, so that no other run gets it until this one ends.

    A run that fails before it has begun leaves the folder as it was.

    Args:
        cfg: config of the run. Its ``work_dir`` gets the next free number if another run has taken it in the meantime.
        new: whether the folder was not chosen by the user: then no other run may have used it.
        begun: returns whether the folder's content is worth keeping.
        say: called with a sentence if the file system cannot keep other runs away.

    Raises:
        UsageError: another run is using the folder that was given.
        CheckpointError: the folder is not writable.
    """
    # Every rank has checked the folder before the first one takes it: to the others, it would be another run.
    barrier()
    if new:
        cfg.work_dir = _on_first_rank(lambda: str(_make(Path(cfg.work_dir))))
    folder = Path(cfg.work_dir)
    before = None if new or not folder.is_dir() else {*folder.iterdir()} - {folder / LOCK}
    lock = RunLock(folder)
    if note := _on_first_rank(lambda: _lock(lock, folder)):
        say(note)
    try:
        # MMEngine dumps the config of a continued run over that of its first session.
        dumps = {path: path.read_bytes() for path in before or () if path.suffix == '.py' and path.is_file()}
        start = time.strftime('%Y%m%d_%H%M%S')
        try:
            yield folder
        except BaseException:
            if is_main_process() and not begun():
                _clear(folder, before, Path(cfg.filename or '').name, start)
                for path, content in dumps.items():
                    if path.read_bytes() != content:
                        path.write_bytes(content)
                if before is None:
                    lock.release()
                    _remove_empty(folder)
            raise
    finally:
        lock.release()


def _on_first_rank(work: Callable[[], _Found]) -> _Found:
    """Return the result of a function on the first rank, or raise its error, on all ranks."""
    found: list = [None]
    if is_main_process():
        try:
            found = [work()]
        except MmcnnError as error:
            found = [error]
    broadcast_object_list(found)
    if isinstance(found[0], MmcnnError):
        raise found[0]
    return found[0]


def _lock(lock: RunLock, folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f'cannot write to {folder}: {error.strerror}') from error
    return lock.acquire()


def _make(folder: Path) -> Path:
    """Make a new folder."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            folder = unused(folder)
            with contextlib.suppress(FileExistsError):  # another run was faster
                folder.mkdir()
                return folder
    except OSError as error:
        raise CheckpointError(f'cannot write to {folder}: {error.strerror}') from error


def _clear(folder: Path, before: set[Path] | None, dump: str, start: str) -> None:
    """Remove the files that MMEngine's Runner has made since ``start``."""
    for path in {*folder.iterdir()} - (before or set()) if folder.is_dir() else ():
        if path.is_dir() and _STARTED_AT.fullmatch(path.name) and path.name >= start:
            shutil.rmtree(path, ignore_errors=True)
        # The config; one that was not read from a file is named by the time.
        elif path.is_file() and (path.name == dump or _STARTED_AT.fullmatch(path.stem)):
            path.unlink()


def _remove_empty(folder: Path) -> None:
    """Remove a folder that was made for the run, unless it contains other files."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        if folder.parent.name == WORK_DIRS.name:
            folder.parent.rmdir()
