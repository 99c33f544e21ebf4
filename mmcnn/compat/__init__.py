"""What exists only because a dependency is broken; each part names the upstream issue and is off where not needed."""

import importlib.util

from mmcnn.compat import collect_env, mmcv_ext, safe_globals

__all__ = ['apply']

MINIMUM_TORCH = (2, 6)


def apply() -> None:
    """Make the installed torch, MMEngine and mmcv work together; called when mmcnn is imported, harmless to repeat.

    Must run before ``mmdet.models`` is imported: mmcv's operators look their extension up at import time.

    Raises:
        ImportError: When mmcv is not installed, or torch is older than 2.6 (whose ``torch.load`` runs what a
            checkpoint says); one sentence with what to install.
    """
    _require_mmcv()
    _require_torch()
    mmcv_ext.install()
    safe_globals.install()
    collect_env.install()


def _require_mmcv() -> None:
    try:
        found = importlib.util.find_spec('mmcv') is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ImportError(
            'mmcnn needs mmcv, which is not installed: run `pip install "mmcnn[lite]"` for the version without '
            'compiled operators, or install a compiled mmcv 2.1.0.'
        )


def _require_torch() -> None:
    import torch

    version = tuple(int(part) for part in torch.__version__.split('.')[:2])
    if version < MINIMUM_TORCH:
        minimum = '.'.join(str(part) for part in MINIMUM_TORCH)
        raise ImportError(
            f'mmcnn needs torch {minimum} or newer, whose torch.load does not run code from checkpoints, not '
            f'{torch.__version__}: run `pip install -U torch`.'
        )
