"""Small tensors of a batch, sent by data-loading processes as bytes instead of through shared memory.

PyTorch sends each tensor as a file in shared memory, whose descriptor the main process fetches over a connection of its
own. That takes about 0.3 ms for a tensor, in the thread that trains; a batch of detection has three or four tensors for
each image.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor

#: Largest size in bytes. Beyond about half a megabyte, copying takes longer than fetching a descriptor.
SMALL = 1 << 18
_OF_NUMPY = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.float32, torch.float64),
}


def send_as_bytes() -> None:
    """Make this process send small tensors as bytes, whoever receives them; they arrive as ordinary tensors."""
    ForkingPickler.register(Tensor, _reduce)


def _reduce(tensor: Tensor) -> tuple[Callable, tuple]:
    is_plain = tensor.device.type == 'cpu' and tensor.layout == torch.strided and not tensor.requires_grad
    if is_plain and tensor.dtype in _OF_NUMPY and tensor.nbytes <= SMALL:
        return torch.from_numpy, (tensor.numpy(force=True),)  # also of a view with a pending change of sign
    return reduce_tensor(tensor)
