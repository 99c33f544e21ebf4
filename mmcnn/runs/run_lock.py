"""One run at a time in a folder: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import time
import weakref
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from mmcnn.errors import CheckpointError, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

#: The locked file of a folder, which names the holder.
LOCK = 'run.lock'
#: Error codes if another process has the lock, and if the file system has no locks.
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# A process that only checks also holds the lock for a moment.
_TRIES, _PAUSE = 4, 0.1
#: Locks that this process holds.
_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


class RunLock:
    """The exclusive right of a run to write to a folder (``flock``), which ends when its process dies.

    Args:
        folder: folder of the run; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._file: BinaryIO | None = None

    def acquire(self) -> str | None:
        """Take the lock, and write host, process and time to its file.

        Returns:
            a sentence if the file system has no locks, so that the folder is used without one; else None.

        Raises:
            UsageError: a run is active in the folder; the message says which.
            CheckpointError: the folder is not writable.
        """
        try:
            self._file = self._locked()
            if self._file is not None:
                self._sign(self._file)
                _held.add(self)
                return None
        except OSError as error:
            self.release()
            raise CheckpointError(f'cannot write to {self.path.parent}: {error.strerror}') from error
        return (
            f'note: {self.path.parent} is on a file system without locks (or this is Windows): another run that writes '
            'to it would not be noticed'
        )

    def release(self) -> None:
        """Release the lock and remove its file; do nothing if it is not held."""
        file, self._file = self._file, None
        _held.discard(self)
        if file is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                self.path.unlink()
            file.close()

    def close_in_child(self) -> None:
        """Close the file in a forked process, which would hold the lock longer than the run lasts."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _locked(self) -> BinaryIO | None:
        """Return the locked file; None: the file system has no locks."""
        for left in reversed(range(_TRIES)):
            file = self.path.open('a+b')
            try:
                _lock(file, shared=False)
                # The run that had it may have removed the file since it was opened.
                if self.path.exists() and os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    file.close()
                    self.path.unlink(missing_ok=True)
                    return None
                if error.errno not in _TAKEN:
                    file.close()
                    raise
                if not left:
                    file.close()
                    raise UsageError(_refusal(self.path)) from None
                time.sleep(_PAUSE)
            file.close()
        raise UsageError(_refusal(self.path))

    @staticmethod
    def _sign(file: BinaryIO) -> None:
        started = datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')
        file.truncate(0)
        file.write(json.dumps(dict(host=socket.gethostname(), pid=os.getpid(), started=started)).encode() + b'\n')
        file.flush()


def _lock(file: BinaryIO, shared: bool) -> None:
    """Lock an open file or raise an ``OSError`` at once."""
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def refuse_live(folder: str | Path) -> None:
    """Refuse a folder with an active run, in this process or another; nothing is written.

    Raises:
        UsageError: names host, process and start of that run.
    """
    path = Path(folder) / LOCK
    with contextlib.suppress(OSError), path.open('rb') as file:
        try:
            _lock(file, shared=True)
        except OSError as error:
            if error.errno in _TAKEN:
                raise UsageError(_refusal(path)) from None


def stop_live(folder: str | Path, patience: float = 120.0) -> None:
    """End an active run in a folder, like Ctrl-C, and wait until the folder is free.

    A run on another machine is only waited for.

    Args:
        folder: folder of the run.
        patience: seconds that a run on this machine has for its checkpoint.

    Raises:
        UsageError: it is still active.
    """
    told, deadline = False, time.monotonic() + patience
    while True:
        try:
            return refuse_live(folder)
        except UsageError:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                holder = json.loads((Path(folder) / LOCK).read_text(encoding='utf-8'))
                if not told and holder['host'] == socket.gethostname():
                    os.kill(holder['pid'], signal.SIGTERM)
                    told = True
            if told and time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _refusal(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding='utf-8'))
        who = f'process {holder["pid"]} on {holder["host"]}, started {holder["started"]}'
    except (OSError, ValueError, KeyError, TypeError):  # the file is not written yet
        who = 'just started'
    return (
        f'a run is active in {path.parent} ({who}): wait until it has ended, or choose another --work-dir; two runs in '
        'one folder would overwrite each other'
    )


def _close_in_child() -> None:
    for lock in [*_held]:
        lock.close_in_child()


if hasattr(os, 'register_at_fork'):  # Windows forks no processes
    os.register_at_fork(after_in_child=_close_in_child)
