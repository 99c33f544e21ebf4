"""Known causes of errors of PyTorch and MMEngine."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from mmcnn.engine.data_workers import forget_deaths, worker_death
from mmcnn.errors import MmcnnError, StoppedError, TrainingError
from mmcnn.runs.determinism import REFUSED

#: Where the errors of torch.compile are defined.
COMPILERS = ('torch._dynamo', 'torch._inductor')


@contextlib.contextmanager
def terminated() -> Iterator[None]:
    """Turn SIGTERM into a :class:`~mmcnn.errors.StoppedError`; the training loop has its own handling.

    Python's default would end the process without a chance to clean up. Does nothing outside of the main thread.
    """

    def stop(signum: int, frame: object) -> NoReturn:
        raise StoppedError(f'stopped by {signal.Signals(signum).name}', signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def known_causes() -> Iterator[None]:
    """Raise an error of :mod:`mmcnn.errors` in place of an error with a known cause."""
    forget_deaths()
    try:
        yield
    except SystemExit as end:  # raised by a loop under MMEngine's own tools after a signal
        if isinstance(end.__cause__, StoppedError):
            raise end.__cause__ from None
        if not isinstance(end.code, int) or end.code - 128 not in set(signal.Signals):
            raise
        signum = end.code - 128
        raise StoppedError(f'stopped by {signal.Signals(signum).name}', signum) from end
    except MmcnnError:
        raise
    except Exception as error:  # raised again, unless its cause is known
        if (interrupt := interrupt_behind(error)) is not None:
            raise interrupt from None
        if death := worker_death(error):
            raise TrainingError(death) from error
        if type(error).__module__.startswith(COMPILERS):
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrainingError(
                f'performance.compile: torch.compile failed: {said}; either this machine has no compiler that PyTorch '
                'can use, or the network or the arguments are not supported: leave out --compile'
            ) from error
        if isinstance(error, RuntimeError) and REFUSED in str(error):
            operator = str(error).partition(' ')[0]
            raise TrainingError(
                f'randomness.deterministic=True: {operator} has no deterministic kernel on a GPU; replace the part '
                'that uses it, or leave out deterministic'
            ) from error
        raise
    finally:
        forget_deaths()  # and release the file descriptors of their processes


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | StoppedError | None:
    """Return the Ctrl-C or SIGTERM that caused an error.

    MMEngine reports one that arrives while it formats a config as an error of the config, and PyTorch one during an
    export as an error of the network.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt | StoppedError):
        error = error.__cause__ or error.__context__
    return error
