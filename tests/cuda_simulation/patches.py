"""Patches of everything in Python that depends on whether there is a CUDA device."""

from __future__ import annotations

import contextlib
import sys
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.optim.optimizer as optimizer  # torch.optim has no attribute of this name
import torch.utils._foreach_utils as foreach
from torch import Tensor
from torch.utils._pytree import tree_map_only

from .conversions import to
from .device import CUDA, SimulatedTensor

if TYPE_CHECKING:
    from .simulation import CudaSimulation

#: Return values of functions of torch.cuda.
ANSWERS = {
    'is_available': True,
    'is_initialized': True,
    'device_count': 1,
    'current_device': 0,
    'get_device_name': 'simulated',
    'get_device_capability': (8, 0),
    'is_bf16_supported': True,
    'mem_get_info': (1 << 34, 1 << 34),
    **dict.fromkeys(
        ('max_memory_allocated', 'memory_allocated', 'max_memory_reserved', 'memory_reserved'), 0
    ),
}  # fmt: skip
#: Functions of torch.cuda that do nothing.
SILENT = (
    '_lazy_init', 'init', 'set_device', 'empty_cache', 'reset_peak_memory_stats', 'manual_seed', 'manual_seed_all',
)  # fmt: skip


def patches(gpu: CudaSimulation) -> Iterator[tuple[Any, str, Any]]:
    """(object, attribute, value) for PyTorch and MMEngine."""
    for name, answer in ANSWERS.items():
        yield torch.cuda, name, _answering(answer)
    for name in SILENT:
        yield torch.cuda, name, _answering(None)
    yield torch.cuda, 'synchronize', lambda *args: gpu.wait('torch.cuda.synchronize')
    yield torch.cuda.amp.common, 'amp_definitely_not_available', _answering(False)
    yield torch.accelerator, 'is_available', _answering(True)  # DataLoader asks it before it pins
    yield torch.accelerator, 'current_accelerator', _answering(torch.device('cuda'))
    yield torch, 'load', _loading(torch.load)
    yield from _foreach()
    if 'mmengine' in sys.modules:
        import mmengine.device.utils
        from mmengine.structures import instance_data

        # It lists torch.cuda.LongTensor, of which no tensor here can be an instance.
        yield instance_data, 'IndexType', typing.Union[(*instance_data.IndexType.__args__, SimulatedTensor)]
        yield mmengine.device.utils, 'DEVICE', 'cuda'


def _foreach() -> Iterator[tuple[Any, str, Any]]:
    """Makes PyTorch use its operators on lists of tensors, as for CUDA."""
    types = [*foreach._foreach_supported_types, SimulatedTensor]
    yield optimizer, '_foreach_supported_types', types
    yield foreach, '_foreach_supported_types', types
    # C++ groups tensors by device, and for it ours are on XLA.
    devices = [*foreach._get_foreach_kernels_supported_devices(), 'xla']
    for module in (foreach, optimizer, torch.nn.utils.clip_grad):
        if hasattr(module, '_get_foreach_kernels_supported_devices'):
            yield module, '_get_foreach_kernels_supported_devices', _answering(devices)


def _loading(load):
    def load_to_device(*args, map_location=None, **kwargs):
        """``torch.load``, which puts tensors on the device unless ``map_location`` says otherwise."""
        if map_location is not None and 'cuda' not in str(map_location):
            return load(*args, map_location=map_location, **kwargs)
        loaded = load(*args, map_location='cpu', **kwargs)
        return tree_map_only(Tensor, lambda tensor: to(tensor, CUDA), loaded)

    return load_to_device


def _answering(answer):
    return lambda *args, **kwargs: answer


@contextlib.contextmanager
def swapped_parameters() -> Iterator[None]:
    """Makes ``Module.to`` swap parameters, because the data of a CPU tensor cannot become a simulated tensor's."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
