"""Error messages for a full /dev/shm, which holds semaphores and the batches of data-loading processes."""

import errno

FULL = '/dev/shm is full: use fewer workers or a smaller batch size; in Docker, --shm-size or --ipc=host'


def refusal(error: OSError) -> str:
    """Return why the system provides no semaphores, memory or processes."""
    return FULL if error.errno == errno.ENOSPC else str(error.strerror)
