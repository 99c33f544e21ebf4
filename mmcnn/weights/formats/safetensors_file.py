"""Files in the safetensors format: tensors and a dict of strings, nothing executable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats import check_file, refuse_enormous


def is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file looks like safetensors: the length of a JSON header within the file, then the header.

    Args:
        head: at least the first 9 bytes.
        size: size of the whole file, bytes.
    """
    return head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= size - 8


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors, under their names, and the metadata.

    Raises:
        CheckpointError: the file is missing, empty, truncated, or its header does not match its contents (offsets
            that overlap, leave gaps or are outside; a length that does not match shape and type).
    """
    path = Path(path).expanduser()
    check_file(path)
    refuse_enormous(path)
    try:
        with safetensors.safe_open(path, 'pt') as file:
            # Copies: the file's mapped pages would change, or vanish, with the file.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # the package's own error, UnicodeDecodeError, OSError, AttributeError of a new type ...
        reason = ' '.join(str(error).split())[:200]
        raise CheckpointError(
            f'{path} cannot be read as safetensors: it is damaged or of another format ({reason})'
        ) from error


def write_safetensors(state: Mapping[str, Tensor], metadata: Mapping[str, str], path: str | Path) -> None:
    """Write a file completely or not at all; values and types are preserved exactly.

    Tensors that share memory are written separately.

    Args:
        state: name to tensor, on any device.
        metadata: texts to store with the tensors.
        path: path of the file, which is replaced if it exists; its folder must exist.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path).expanduser()
    alone = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    try:
        write_whole(path, lambda file: file.write(save(alone, dict(metadata))))
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} cannot be written: {error}') from error
