"""Where mmcnn keeps what it worked out about users' data; the data's own folders are never written to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/mmcnn``, else ``~/.cache/mmcnn`` (without a home a temporary one); it need not exist."""
    chosen = os.environ.get('XDG_CACHE_HOME')
    try:
        return Path(chosen or Path.home() / '.cache') / 'mmcnn'
    except RuntimeError:  # a container's user that has no entry
        return Path(tempfile.gettempdir()) / f'mmcnn-{os.getuid()}'


def write_cached(path: Path, content: bytes) -> None:
    """Writes a file, and its folder, so that another process sees all of it or the one before.

    Unlike :func:`~mmcnn.engine.atomic_file.write_whole`, several processes may write the same file at once.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Holds the other processes of this machine back that ask for the same file.

    Where locks or the folder cannot be had nobody is held back.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open('w'))
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
