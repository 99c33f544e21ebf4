"""Requirements that package metadata cannot express: an mmcv, compiled or not, and a recent enough torch."""

from __future__ import annotations

import importlib.util

from mmcnn.errors import DependencyError

MINIMUM_TORCH = (2, 6)


def check() -> None:
    """Check that mmcv is installed and torch is recent enough, before another package fails because of them.

    Raises:
        DependencyError: mmcv is not installed, or torch is older than 2.6 (whose ``torch.load`` runs code in
            checkpoints); one sentence with what to install.
    """
    _require_mmcv()
    _require_torch()


def torch_is_supported() -> bool:
    """Return whether torch is at least of version :data:`MINIMUM_TORCH`."""
    import torch

    return tuple(int(part) for part in torch.__version__.split('.')[:2]) >= MINIMUM_TORCH


def _require_mmcv() -> None:
    try:
        spec = importlib.util.find_spec('mmcv')
        found = spec is not None and spec.origin is not None  # pip leaves a folder without __init__.py behind
    except ModuleNotFoundError:
        found = False
    if not found:
        raise DependencyError(
            'mmcnn needs mmcv, which is not installed: run `pip install "mmcnn[lite]"` for the version without '
            'compiled operators, or install a compiled mmcv 2.1.0.'
        )


def _require_torch() -> None:
    import torch

    if not torch_is_supported():
        minimum = '.'.join(str(part) for part in MINIMUM_TORCH)
        raise DependencyError(
            f'mmcnn needs torch {minimum} or newer, whose torch.load does not run code from checkpoints, not '
            f'{torch.__version__}: run `pip install -U torch`.'
        )
