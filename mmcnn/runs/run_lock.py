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

#: Which file of a folder is locked; it says who holds it.
LOCK = 'run.lock'
#: What the system says where another process has the lock, and where the file system knows no locks.
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# Whoever only asks holds the lock for a moment, too.
_TRIES, _PAUSE = 4, 0.1
#: Locks that this process holds.
_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


class RunLock:
    """The exclusive right of a run to write to a folder (``flock``), which ends when its process dies.

    Args:
        folder: of the run; it has to be there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._file: BinaryIO | None = None

    def acquire(self) -> str | None:
        """Take the lock, and writes host, process and time into its file.

        Returns:
            a sentence if the file system knows no locks; then the folder is taken without one. Else None.

        Raises:
            UsageError: a run goes on in the folder; the message says which.
            CheckpointError: nothing can be written there.
        """
        try:
            self._file = self._locked()
            if self._file is not None:
                self._sign(self._file)
                _held.add(self)
                return None
        except OSError as error:
            self.release()
            raise CheckpointError(f'nothing can be written to {self.path.parent}: {error.strerror}') from error
        return (
            f'note: {self.path.parent} is on a file system without locks (or this is Windows): another run that is '
            'told to write there would not be noticed'
        )

    def release(self) -> None:
        """Lets go of the lock and removes its file; does nothing if it is not held."""
        file, self._file = self._file, None
        _held.discard(self)
        if file is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                self.path.unlink()
            file.close()

    def close_in_child(self) -> None:
        """In a forked process, which would hold the lock longer than the run lasts."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _locked(self) -> BinaryIO | None:
        """Return the file, locked; None: the file system knows no locks."""
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
    """Refuse a folder in which a run goes on, in this process or another; nothing is written.

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
    """End a run that goes on in a folder, as Ctrl-C would, and waits until the folder is free.

    A run of another machine is waited for only.

    Args:
        folder: of the run.
        patience: seconds that a run of this machine has for its checkpoint.

    Raises:
        UsageError: it still goes on.
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
    except (OSError, ValueError, KeyError, TypeError):  # it has not written it yet
        who = 'it has just started'
    return (
        f'a run goes on in {path.parent} ({who}): wait until it has ended, or choose another --work-dir; two runs in '
        'one folder would overwrite each other'
    )


def _close_in_child() -> None:
    for lock in [*_held]:
        lock.close_in_child()


if hasattr(os, 'register_at_fork'):  # Windows forks no processes
    os.register_at_fork(after_in_child=_close_in_child)
