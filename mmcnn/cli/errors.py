"""What the user got wrong, said in one sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from mmcnn.errors import MmcnnError


@contextlib.contextmanager
def friendly_errors() -> Iterator[None]:
    """Ends a tool with one clear message and exit code 1 where the user's input is at fault, or with 130 after Ctrl-C.

    So does a data-loading process that has died or cannot be started.
    ``MMCNN_TRACEBACK=1`` shows the traceback instead. A fault of the program itself always does.
    """
    try:
        yield
    except MmcnnError as error:
        if os.environ.get('MMCNN_TRACEBACK') == '1':
            raise
        sys.exit(f'error: {error}')
    except (OSError, RuntimeError) as error:
        from mmcnn.engine.watch import start_failure, worker_death  # takes a second

        cause = start_failure(error) if isinstance(error, OSError) else worker_death(error)
        if cause is None or os.environ.get('MMCNN_TRACEBACK') == '1':
            raise
        sys.exit(f'error: {cause}')
    except KeyboardInterrupt:
        if os.environ.get('MMCNN_TRACEBACK') == '1':
            raise
        sys.exit(128 + signal.SIGINT)
