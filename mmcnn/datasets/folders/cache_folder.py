"""The cache folder for data that mmcnn derives from users' data, whose own folders are never written to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmcnn.engine.atomic_file import write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/mmcnn``, else ``~/.cache/mmcnn`` (without a home a temporary one); it need not exist."""
    chosen = os.environ.get('XDG_CACHE_HOME')
    try:
        return Path(chosen or Path.home() / '.cache') / 'mmcnn'
    except RuntimeError:  # a user without an entry in a container
        user = os.getuid() if hasattr(os, 'getuid') else 'user'  # Windows has no numbers, but a folder for each user
        return Path(tempfile.gettempdir()) / f'mmcnn-{user}'


def write_cached(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, and create its folder; several processes may write it at the same time.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(content), shared=True)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Make other processes on this machine that request the same file wait.

    If locks or the folder are not available, nobody waits.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open('w'))
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
