"""How a batch gets from a data-loading process to the training: small tensors as bytes, large ones in one block.

PyTorch sends each tensor as a file in shared memory, whose descriptor the main process fetches over a connection of its
own. That takes about 0.2 ms for a tensor, in the thread that trains, and a batch of detection has three to six tensors
for each image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import get_worker_info

#: Largest size in bytes of a tensor that is sent as bytes. Beyond it, copying takes longer than fetching a descriptor.
SMALL = 1 << 18
#: Bytes between possible places in a block: a cache line, also a multiple of the size of every type.
_PLACE = 64
_OF_NUMPY = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.float32, torch.float64),
}


def send_small_as_bytes() -> None:
    """Make this process send small tensors as bytes, whoever receives them; they arrive as ordinary tensors."""
    ForkingPickler.register(Tensor, _reduce)


def _reduce(tensor: Tensor) -> tuple[Callable, tuple]:
    if _is_plain(tensor) and tensor.dtype in _OF_NUMPY and tensor.nbytes <= SMALL:
        return torch.from_numpy, (tensor.numpy(force=True),)  # also of a view with a pending change of sign
    return reduce_tensor(tensor)


class LargeInOneBlock:
    """A collate function whose large tensors leave a data-loading process together; they arrive as ordinary tensors.

    They share their memory, which is freed with the last of them.

    Args:
        collate: makes a batch of samples. Tensors are found in dicts, lists and tuples of the batch, at any depth.
    """

    def __init__(self, collate: Callable[[list], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: list) -> Any:
        """Return the batch, to be sent if this is a data-loading process."""
        batch = self.collate(samples)
        return batch if get_worker_info() is None else _in_one_block(batch)


class _Part(NamedTuple):
    """A tensor that is sent as a part of a block of bytes."""

    block: Tensor
    start: int
    end: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _tensor_of, tuple(self)


def _tensor_of(
    block: Tensor, start: int, end: int, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    return block[start:end].view(dtype).as_strided(shape, stride)


def _in_one_block(batch: Any) -> Any:
    large = {id(tensor): tensor for tensor in _tensors(batch) if _is_dense(tensor) and tensor.nbytes > SMALL}
    if len(large) < 2:
        return batch
    *starts, size = accumulate((math.ceil(tensor.nbytes / _PLACE) * _PLACE for tensor in large.values()), initial=0)
    block = torch.empty(size, dtype=torch.uint8)
    parts = {}
    for (key, tensor), start in zip(large.items(), starts, strict=True):
        part = _Part(block, start, start + tensor.nbytes, tensor.dtype, tuple(tensor.shape), tensor.stride())
        _tensor_of(*part).copy_(tensor)
        parts[key] = part
    return _replaced(batch, parts)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == 'cpu' and tensor.layout == torch.strided and not tensor.requires_grad


def _is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor's elements fill a piece of memory without gaps, in whatever order of dimensions."""
    if type(tensor) is not Tensor or not _is_plain(tensor) or tensor.is_quantized:
        return False
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return tensor.permute(order).is_contiguous()


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif type(batch) in (dict, list, tuple):
        for value in batch.values() if type(batch) is dict else batch:
            yield from _tensors(value)


def _replaced(batch: Any, parts: Mapping[int, _Part]) -> Any:
    """Return the batch with tensors replaced, by their id, in new containers."""
    if isinstance(batch, Tensor):
        return parts.get(id(batch), batch)
    if type(batch) is dict:
        return {key: _replaced(value, parts) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(_replaced(value, parts) for value in batch)
    return batch
