"""Checkpoints read as data: nothing in a file runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcnn.compat.moved import moved_names
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats.torch_file import open_inert, unreadable
from mmcnn.weights.report import NAMED_KEYS

__getattr__ = moved_names(__name__)


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict:
    """Read a ``.pth`` file as data: with ``torch.load(weights_only=True)``, never otherwise.

    :func:`open_inert` looks through the file first, since a pickle can exhaust the memory or end the process there too.

    Args:
        path: The file.
        map_location: Where tensors go, see ``torch.load``.

    Returns:
        The whole checkpoint, either with a ``state_dict`` among its entries or itself a dict of tensors.

    Raises:
        CheckpointError: The file is missing, empty, cut short or not a checkpoint; lies about its sizes; asks to run
            code (nothing is run); or holds no state dict. One sentence that names the path.
    """
    path = Path(path).expanduser()
    open_inert(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler fail in any way: IndexError, KeyError, struct.error
        raise unreadable(path, error) from error
    try:
        state_dict_of(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None
    return checkpoint


def state_dict_of(checkpoint: Any) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint.

    Args:
        checkpoint: What :func:`read_checkpoint` returns: a dict with a ``state_dict``, or itself one.

    Returns:
        Name to tensor; ``module.``, which a distributed wrapper puts before every name, is taken away.

    Raises:
        CheckpointError: There is no dict, or none of tensors.
    """
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'a checkpoint is a dict, this is a {type(checkpoint).__name__}')
    state_dict = checkpoint.get('state_dict', checkpoint)
    tensors = isinstance(state_dict, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state_dict.items()
    )
    if not tensors or not state_dict:
        kind = 'has a state_dict that is no dict of tensors' if 'state_dict' in checkpoint else 'has no state_dict'
        raise CheckpointError(
            f'the checkpoint {kind}; its entries: {", ".join(map(str, list(checkpoint)[:NAMED_KEYS]))}'
        )
    prefix = 'module.' if all(key.startswith('module.') for key in state_dict) else ''
    return {key.removeprefix(prefix): value for key, value in state_dict.items()}
