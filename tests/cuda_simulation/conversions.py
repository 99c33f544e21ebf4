"""Conversions to and from the simulated device that C++ does without asking the dispatch mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .device import CUDA, SimulatedTensor

_TO, _PIN, _IS_PINNED = Tensor.to, Tensor.pin_memory, Tensor.is_pinned
_FACTORIES = (torch.tensor, torch.as_tensor, torch.asarray)
#: Tensors in pinned memory while a simulation is open.
_pinned: list[Tensor] = []


def to(tensor: Tensor, *args, **kwargs) -> Tensor:
    """``Tensor.to`` of any tensor.

    It adds the index to 'cuda', for which C++ would ask CUDA's guard, and returns the tensor itself if nothing changes.
    """
    copy = kwargs.pop('copy', False)
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    kwargs = dict(non_blocking=non_blocking, copy=copy, memory_format=memory_format)
    dtype = tensor.dtype if dtype is None else dtype
    with torch._C.DisableTorchFunctionSubclass():
        to_cuda = device is not None and device.type in ('cuda', 'xla')  # xla: another simulated tensor's device
        if device is None or to_cuda == isinstance(tensor, SimulatedTensor):
            return _TO(tensor, dtype, **kwargs)
        return _TO(tensor, CUDA if to_cuda else device, dtype, **kwargs)


def pin(tensor: Tensor, *args) -> Tensor:
    """``Tensor.pin_memory``: a copy that is remembered as pinned."""
    if isinstance(tensor, SimulatedTensor):
        return _PIN(tensor)  # raises
    if is_pinned(tensor):
        return tensor
    copied = tensor.clone()
    _pinned.append(copied)
    return copied


def is_pinned(tensor: Tensor, *args) -> bool:
    """Whether a tensor is pinned or shares the memory of a pinned one."""
    if isinstance(tensor, SimulatedTensor) or tensor.layout != torch.strided:
        return False
    storage = tensor.untyped_storage().data_ptr()
    return any(each.untyped_storage().data_ptr() == storage for each in _pinned)


def forget_pinned() -> None:
    """Frees the pinned tensors."""
    _pinned.clear()


def patches() -> Iterator[tuple[Any, str, Any]]:
    """(object, attribute, value) for the methods of ``Tensor``."""
    yield Tensor, 'to', to
    yield Tensor, 'cuda', lambda tensor, device=None, non_blocking=False, **kwargs: to(tensor, CUDA, None, non_blocking)
    yield Tensor, 'type_as', to
    yield Tensor, 'pin_memory', pin
    yield Tensor, 'is_pinned', is_pinned


class Conversions(TorchFunctionMode):
    """Makes copies visible that happen above the dispatch mode.

    ``torch.tensor`` and similar functions switch dispatch modes off while they copy to the device, and indices that are
    lists or numbers become tensors unseen. Here both use copies that the dispatch mode sees.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.get('device')
        to_cuda = device is not None and torch.device(device).type == 'cuda'
        if func is Tensor.new_tensor and (to_cuda or (device is None and isinstance(args[0], SimulatedTensor))):
            return _new_tensor(*args, **kwargs)
        if to_cuda and func in _FACTORIES and not isinstance(args[0], SimulatedTensor):
            needs = kwargs.pop('requires_grad', False)
            made = to(func(*args, **{**kwargs, 'device': 'cpu'}), CUDA)
            return made.requires_grad_() if needs else made
        if to_cuda:
            kwargs['device'] = CUDA
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], SimulatedTensor):
            args = (args[0], _index(args[1]), *args[2:])
            if func is Tensor.__setitem__ and isinstance(args[2], bool | int | float) and _is_advanced(args[1]):
                # For CUDA, and no other device, Python's numbers stay on the CPU (python_variable_indexing.cpp).
                args = (*args[:2], torch.tensor(args[2], dtype=args[0].dtype))
        return func(*args, **kwargs)


def _new_tensor(like: Tensor, data, dtype=None, device=None, requires_grad=False) -> Tensor:
    if isinstance(data, SimulatedTensor):
        return data.detach().clone().requires_grad_(requires_grad)
    made = torch.tensor(data, dtype=like.dtype if dtype is None else dtype)
    return to(made, CUDA).requires_grad_(requires_grad)


def _index(index):
    """Converts lists and arrays in an index to tensors on the device."""
    if isinstance(index, list | np.ndarray):
        return to(torch.as_tensor(np.asarray(index)), CUDA)
    return tuple(map(_index, index)) if isinstance(index, tuple) else index


def _is_advanced(index) -> bool:
    return any(isinstance(each, Tensor) for each in (index if isinstance(index, tuple) else (index,)))
