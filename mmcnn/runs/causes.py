"""Known causes behind errors of PyTorch and MMEngine."""

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
    """While it is open, SIGTERM is a :class:`~mmcnn.errors.StoppedError`; the training loop has a way of its own.

    Python's own reaction would end the process without a chance to clean up. Does nothing outside of the main thread.
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
    """Raise what is known to lie behind an error as one of :mod:`mmcnn.errors`."""
    forget_deaths()
    try:
        yield
    except SystemExit as end:  # how a loop under MMEngine's own tools ends after a signal
        if isinstance(end.__cause__, StoppedError):
            raise end.__cause__ from None
        if not isinstance(end.code, int) or end.code - 128 not in set(signal.Signals):
            raise
        signum = end.code - 128
        raise StoppedError(f'stopped by {signal.Signals(signum).name}', signum) from end
    except MmcnnError:
        raise
    except Exception as error:  # raised again, unless a known cause lies behind it
        if (interrupt := interrupt_behind(error)) is not None:
            raise interrupt from None
        if death := worker_death(error):
            raise TrainingError(death) from error
        if type(error).__module__.startswith(COMPILERS):
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrainingError(
                f'performance.compile: torch.compile has failed: {said}; this machine has no compiler that does what '
                'PyTorch needs, or the network or the arguments are not for it: leave --compile out'
            ) from error
        if isinstance(error, RuntimeError) and REFUSED in str(error):
            operator = str(error).partition(' ')[0]
            raise TrainingError(
                f'randomness.deterministic=True: {operator} has no deterministic kernel on a GPU; use another part in '
                'the place of what computes with it, or leave deterministic out'
            ) from error
        raise
    finally:
        forget_deaths()  # and with them the files by which the system tells of processes


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | StoppedError | None:
    """Return the Ctrl-C or SIGTERM that an error came of.

    MMEngine says of one while it formats a config that the config is at fault, PyTorch while it exports a network that
    the network is.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt | StoppedError):
        error = error.__cause__ or error.__context__
    return error
