"""Types other than tensors in MMEngine's own checkpoints, allowed for ``torch.load(weights_only=True)``.

Since torch 2.6 ``torch.load`` builds only types on an allow-list, and MMEngine 0.10.7 cannot load the checkpoints that
its Runner saves: the message hub's ``HistoryBuffer`` is not on it (open-mmlab/mmengine issue 1655), so resuming and
testing fail. Disabling the check would run any code in a checkpoint, so the list is extended instead.

The list is extended as soon as torch has been imported, but MMEngine is imported only when a checkpoint contains its
type. MMEngine imports torch itself: during torch's import it may be only partially initialised, or another thread may
be importing it and waiting for torch.
"""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

STATISTICS = ('min', 'max', 'mean', 'current')


def install() -> None:
    """Add the names that are missing from torch's allow-list; harmless to repeat."""
    allowed = names()
    missing = [entry for entry in _safe_globals() if _name(entry) not in allowed]
    if missing:
        torch.serialization.add_safe_globals(missing)


def names() -> set[str]:
    """Return the names on torch's allow-list that were added by anyone."""
    return {_name(entry) for entry in torch.serialization.get_safe_globals()}


class HistoryBufferStandIn:
    """Stand-in for MMEngine's ``HistoryBuffer`` on the list; a new one is a real ``HistoryBuffer`` without state."""

    def __new__(cls) -> Any:
        """Return an empty HistoryBuffer whose type torch accepts."""
        from mmengine.logging import HistoryBuffer

        # torch sets the state of an object only if its type is on the list. It is added under another name, since the
        # stand-in must keep the usual one until the file has been read.
        torch.serialization.add_safe_globals([(HistoryBuffer, f'{__name__}.HistoryBuffer')])
        return HistoryBuffer.__new__(HistoryBuffer)


def _safe_globals() -> list[Callable | tuple[Callable, str]]:
    # numpy's own reconstruction functions, taken from a pickle: their module was renamed in numpy 2, and files of both
    # versions are read.
    rebuild_array = np.zeros(1).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    # With their names: ``torch.serialization.safe_globals``, by which the onedl fork of MMEngine loads, takes its own
    # entries off the list at the end, even those that were there before.
    kinds = (np.ndarray, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.int64)))
    return [
        # Also under its own name, so that it stays on the list if the real class is added under the usual one.
        HistoryBufferStandIn,
        (HistoryBufferStandIn, 'mmengine.logging.history_buffer.HistoryBuffer'),
        *((kind, _name(kind)) for kind in kinds),
        *((rebuild_array, f'{module}.multiarray._reconstruct') for module in ('numpy.core', 'numpy._core')),
        *((rebuild_scalar, f'{module}.multiarray.scalar') for module in ('numpy.core', 'numpy._core')),
        (_statistic, 'builtins.getattr'),
    ]


def _name(entry: Callable | tuple[Callable, str]) -> str:
    """Return the name by which a checkpoint refers to an entry of the list."""
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def _statistic(owner: object, name: str) -> Callable:
    """Replace ``getattr``, with which a pickled HistoryBuffer refers to its statistics.

    The real one would give the author of a file access to any attribute of any allowed object.

    Args:
        owner: the class ``HistoryBuffer``, or its stand-in.
        name: one of :data:`STATISTICS`.

    Returns:
        The method of that name.

    Raises:
        pickle.UnpicklingError: any other name.
    """
    from mmengine.logging import HistoryBuffer

    if (owner is HistoryBuffer or owner is HistoryBufferStandIn) and type(name) is str and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(
        f'Unsupported use of GLOBAL builtins.getattr: only the statistics {", ".join(STATISTICS)} of HistoryBuffer may '
        f'be looked up, not {name!r}'
    )
