"""Types that MMEngine's own checkpoints hold besides tensors, allowed for ``torch.load(weights_only=True)``.

Since torch 2.6 ``torch.load`` builds only types on an allow-list, and MMEngine 0.10.7 cannot load the checkpoints that
its Runner saves: the message hub's ``HistoryBuffer`` is not on it (open-mmlab/mmengine issue 1655), so resuming and
testing fail. Switching the check off would run whatever a checkpoint says; the list is extended instead.

The list is extended as soon as torch is imported, and MMEngine only when a checkpoint holds its type: it imports torch
itself, so an import of it inside torch's would meet it half done, or a thread that waits for torch.
"""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

STATISTICS = ('min', 'max', 'mean', 'current')


def install() -> None:
    """Extend torch's allow-list by the names that are not on it; harmless to repeat."""
    allowed = {_name(entry) for entry in torch.serialization.get_safe_globals()}
    missing = [entry for entry in _safe_globals() if _name(entry) not in allowed]
    if missing:
        torch.serialization.add_safe_globals(missing)


class HistoryBufferStandIn:
    """Stands on the list in place of MMEngine's ``HistoryBuffer``; its new object is one of that class."""

    def __new__(cls) -> Any:
        from mmengine.logging import HistoryBuffer

        # torch fills a new object with its state only if its type is on the list. The name is another than that of the
        # entry that it was made by: this must keep its place while a file is read.
        torch.serialization.add_safe_globals([(HistoryBuffer, f'{__name__}.HistoryBuffer')])
        return HistoryBuffer.__new__(HistoryBuffer)


def _safe_globals() -> list[Callable | tuple[Callable, str]]:
    # numpy's own rebuilding functions, taken from what it pickles: their module was renamed in numpy 2, and files
    # of either version are read.
    rebuild_array = np.zeros(1).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    return [
        # Also under its own name, so that it stays on the list if MMEngine's own class is put there, too.
        HistoryBufferStandIn,
        (HistoryBufferStandIn, 'mmengine.logging.history_buffer.HistoryBuffer'),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        *((rebuild_array, f'{module}.multiarray._reconstruct') for module in ('numpy.core', 'numpy._core')),
        *((rebuild_scalar, f'{module}.multiarray.scalar') for module in ('numpy.core', 'numpy._core')),
        (_statistic, 'builtins.getattr'),
    ]


def _name(entry: Callable | tuple[Callable, str]) -> str:
    """The name by which a file asks for an entry of the list."""
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def _statistic(owner: object, name: str) -> Callable:
    """Stands in for ``getattr``, by which a pickled HistoryBuffer names its statistics.

    The real one would hand any attribute of any allowed object to the author of a file.

    Args:
        owner: ``HistoryBuffer``, the class, or what stands for it on the list.
        name: One of :data:`STATISTICS`.

    Returns:
        The method of that name.

    Raises:
        pickle.UnpicklingError: For anything else.
    """
    from mmengine.logging import HistoryBuffer

    if (owner is HistoryBuffer or owner is HistoryBufferStandIn) and type(name) is str and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(
        f'Unsupported use of GLOBAL builtins.getattr: only the statistics {", ".join(STATISTICS)} of HistoryBuffer may '
        f'be looked up, not {name!r}'
    )
