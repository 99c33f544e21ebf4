"""What lies behind an error of PyTorch or MMEngine, where it is known."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from mmcnn.engine.watch import start_failure, worker_death
from mmcnn.errors import StoppedError, TrainingError


@contextlib.contextmanager
def known_causes() -> Iterator[None]:
    """Raises what is known to lie behind an error as one of :mod:`mmcnn.errors`."""
    try:
        yield
    except SystemExit as end:  # how a loop under MMEngine's own tools ends after a signal
        if isinstance(end.__cause__, StoppedError):
            raise end.__cause__ from None
        if not isinstance(end.code, int) or end.code <= 128:
            raise
        signum = end.code - 128
        raise StoppedError(f'stopped by {signal.Signals(signum).name}', signum) from end
    except (OSError, RuntimeError) as error:
        cause = start_failure(error) if isinstance(error, OSError) else worker_death(error)
        if cause is None:
            raise
        raise TrainingError(cause) from error
