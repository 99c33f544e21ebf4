"""How a batch travels from a data-loading process to the training: in one block of shared memory.

PyTorch sends each tensor as a file in shared memory, whose descriptor the main process fetches over a connection of its
own. That takes about 0.2 ms for a tensor, in the thread that trains, and a batch of detection has three to six tensors
for each image. Here the whole batch is one block. What goes through the pipe is always less than a page, which is
written at once: a process that is killed leaves no message of which the reader would await the rest.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

#: Largest size in bytes of an array that is copied where it arrives; larger ones keep the memory of their whole batch.
SMALL = 1 << 18
#: Bytes between possible places in a block: a cache line, also a multiple of the size of every type.
_PLACE = 64


class InOneBlock:
    """A collate function whose batches leave a data-loading process in one block of memory, and arrive unchanged.

    Large tensors and arrays of a batch share its memory, which is freed with the last of them.

    Args:
        collate: makes a batch of samples: anything that can be pickled.
    """

    def __init__(self, collate: Callable[[list], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: list) -> Any:
        """Return the batch, in a block if this is a data-loading process."""
        batch = self.collate(samples)
        return batch if get_worker_info() is None else _block_of(batch)


class _Block(NamedTuple):
    """The sizes of some pieces (int64), and the pieces: a pickled batch and the large buffers in it."""

    memory: Tensor
    count: int

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _batch_of, tuple(self)


def _block_of(batch: Any) -> _Block:
    large = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes > SMALL:
            large.append(raw)
        return raw.nbytes <= SMALL

    stream = io.BytesIO()
    _Pickler(stream, pickle.HIGHEST_PROTOCOL, buffer_callback=is_small).dump(batch)
    pieces = [stream.getbuffer(), *large]
    sizes = np.array([piece.nbytes for piece in pieces], np.int64)
    *places, end = _places(sizes)
    memory = torch.empty(end, dtype=torch.uint8)
    array = memory.numpy()
    array[: sizes.nbytes] = sizes.view(np.uint8)
    for place, piece in zip(places, pieces, strict=True):
        array[place : place + piece.nbytes] = piece
    return _Block(memory, len(pieces))


def _batch_of(memory: Tensor, count: int) -> Any:
    array = memory.numpy()
    sizes = array[: 8 * count].view(np.int64)
    pieces = [array[place : place + size] for place, size in zip(_places(sizes), sizes, strict=False)]
    return pickle.loads(pieces[0], buffers=pieces[1:])


def _places(sizes: np.ndarray) -> Iterator[int]:
    """Yield where each piece begins, and where the last one ends."""
    place = sizes.nbytes
    for size in (0, *sizes.tolist()):
        place = math.ceil((place + size) / _PLACE) * _PLACE
        yield place


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays, which may be kept apart; others than plain ones as PyTorch does."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or not _is_plain(value):
            return NotImplemented
        value = value.resolve_conj().resolve_neg()
        if not _is_dense(value):
            value = value.contiguous()
        array = value.as_strided((value.numel(),), (1,)).view(torch.uint8).numpy()
        return _tensor_of, (array, value.dtype, tuple(value.shape), value.stride())


def _is_plain(tensor: Tensor) -> bool:
    is_plain = tensor.device.type == 'cpu' and tensor.layout == torch.strided
    return is_plain and not tensor.requires_grad and not tensor.is_quantized


def _is_dense(tensor: Tensor) -> bool:
    """Return whether the elements fill a piece of memory without gaps, in whatever order of dimensions."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True)).is_contiguous()


def _tensor_of(array: np.ndarray, dtype: torch.dtype, shape: Sequence[int], stride: Sequence[int]) -> Tensor:
    return torch.from_numpy(array).view(dtype).as_strided(shape, stride)
