"""Types that MMEngine's own checkpoints hold besides tensors, allowed for ``torch.load(weights_only=True)``.

Since torch 2.6 ``torch.load`` builds only types on an allow-list, and MMEngine 0.10.7 cannot load the checkpoints that
its Runner saves: the message hub's ``HistoryBuffer`` is not on it (open-mmlab/mmengine issue 1655), so resuming and
testing fail. Switching the check off would run whatever a checkpoint says; the list is extended instead.
"""

import io
import pickle
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

STATISTICS = ('min', 'max', 'mean', 'current')


def install() -> None:
    """Extend torch's allow-list, unless a checkpoint with a message hub loads already."""
    if not _loads_message_hub():
        torch.serialization.add_safe_globals(_safe_globals())


def _loads_message_hub() -> bool:
    """Whether what the Runner stores of a logged number comes back, which tells whether the list is needed."""
    checkpoint = io.BytesIO()
    torch.save({'log': HistoryBuffer([1.0], [1]), 'scalar': np.float64(1)}, checkpoint)
    checkpoint.seek(0)
    try:
        torch.load(checkpoint, weights_only=True)
    except pickle.UnpicklingError:
        return False
    return True


def _safe_globals() -> list[Callable | tuple[Callable, str]]:
    # numpy's own rebuilding functions, taken from what it pickles: their module was renamed in numpy 2, and files
    # of either version are read.
    rebuild_array = np.zeros(1).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    return [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        *((rebuild_array, f'{module}.multiarray._reconstruct') for module in ('numpy.core', 'numpy._core')),
        *((rebuild_scalar, f'{module}.multiarray.scalar') for module in ('numpy.core', 'numpy._core')),
        (_statistic, 'builtins.getattr'),
    ]


def _statistic(owner: object, name: str) -> Callable:
    """Stands in for ``getattr``, by which a pickled HistoryBuffer names its statistics.

    The real one would hand any attribute of any allowed object to the author of a file.

    Args:
        owner: ``HistoryBuffer``, the class.
        name: One of :data:`STATISTICS`.

    Returns:
        The method of that name.

    Raises:
        pickle.UnpicklingError: For anything else.
    """
    if owner is HistoryBuffer and type(name) is str and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(
        f'Unsupported use of GLOBAL builtins.getattr: only the statistics {", ".join(STATISTICS)} of HistoryBuffer may '
        f'be looked up, not {name!r}'
    )
