"""All private or undocumented names of dependencies that mmcnn uses; private_table.py gives the reasons.

If a name can be wrapped, a function or an alias here is the only place that uses it. A subclass that uses or replaces
private attributes of its base class does so in its own file, which the table gives. tests/compat/test_private_names.py
fails if an upgrade moves one of them, or if another one is used elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmengine.device.utils
import torch
import torch.nn.modules.module as torch_module
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.utils import ManagerMixin
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode, is_in_torch_dispatch_mode
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmcnn.compat.private_table import PRIVATE_NAMES, TRIED_WITH

if TYPE_CHECKING:
    from mmengine.runner import Runner

__all__ = ['PRIVATE_NAMES', 'TRIED_WITH', 'BatchNorm', 'TorchDispatchMode', 'is_in_torch_dispatch_mode']


def on_queue_feeder_error(react: Callable[[Exception, Any], object]) -> None:
    """Call ``react(error, object)`` if a queue of this process cannot send an object, instead of printing the error."""
    Queue._on_queue_feeder_error = staticmethod(react)


def stays_locked(event: Event, seconds: float) -> bool:
    """Return whether the lock of an event stays taken for this time, as by a process that was killed with it."""
    if not event._cond.acquire(timeout=seconds):
        return True
    event._cond.release()
    return False


def delete_unstarted_iterators_quietly() -> None:
    """Delete the iterator of a ``DataLoader`` whose workers could not be started without printing a traceback."""
    if getattr(_MultiProcessingDataLoaderIter.__del__, 'is_quiet', False):
        return
    delete = _MultiProcessingDataLoaderIter.__del__

    def delete_if_started(iterator: _MultiProcessingDataLoaderIter) -> None:
        if hasattr(iterator, '_workers_status'):
            delete(iterator)

    delete_if_started.is_quiet = True
    _MultiProcessingDataLoaderIter.__del__ = delete_if_started


def end_workers(loader: DataLoader) -> None:
    """End the persistent workers of a loader; its next iteration starts new ones."""
    if loader._iterator is not None:
        if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
            loader._iterator._shutdown_workers()
        loader._iterator = None


def has_forward_hooks(module: nn.Module) -> bool:
    """Return whether hooks observe or change the inputs or outputs of a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def has_hooks(*modules: nn.Module) -> bool:
    """Return the same of any of the modules or their parts, or whether hooks see gradients.

    For the latter, PyTorch makes views that cannot be overwritten.
    """
    if (  # PyTorch 2.6 has no function for this
        torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
    ):
        return True
    left = [*modules]
    while left:
        module = left.pop()
        if has_forward_hooks(module) or module._backward_hooks or module._backward_pre_hooks:
            return True
        left += [part for part in module._modules.values() if part is not None]
    return False


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return a module's own parameters by name, in a fraction of the time that reading them as attributes takes."""
    return module._parameters


def tensors_of(module: nn.Module) -> tuple[dict[str, nn.Parameter | None], dict[str, Tensor | None]]:
    """Return a module's own parameters and its own buffers by name, for the same reason."""
    return module._parameters, module._buffers


def is_transformed() -> bool:
    """Return whether ``torch.func`` or forward-mode differentiation follows each operator."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def average_in_place(averages: list[Tensor], values: list[Tensor], weight: float) -> None:
    """Compute ``average * (1 - weight) + value * weight`` of each pair, rounded as by ``mul_`` and ``add_``."""
    torch._foreach_mul_(averages, 1 - weight)
    torch._foreach_add_(averages, values, alpha=weight)


def cpu_capabilities() -> Mapping[str, Any]:
    """Return the processor's capabilities with the names of ``torch.cpu.get_capabilities``; older PyTorch has fewer."""
    if hasattr(torch.cpu, 'get_capabilities'):
        return torch.cpu.get_capabilities()
    # Every processor with tiles supports products of bfloat16 in them.
    names = dict(avx512_bf16='_is_avx512_bf16_supported', amx_bf16='_is_amx_tile_supported')
    return {key: getattr(torch.cpu, name)() for key, name in names.items() if hasattr(torch.cpu, name)}


def device_of_mmengine() -> str:
    """Return the device that MMEngine puts models on: 'cuda', 'cpu' ..."""
    return mmengine.device.utils.DEVICE


def set_device_of_mmengine(device: str) -> None:
    """Set the return value of :func:`device_of_mmengine`."""
    mmengine.device.utils.DEVICE = device


def taken_instances(cls: type[ManagerMixin]) -> dict[str, ManagerMixin]:
    """Return the instances of a class that MMEngine keeps by name, and make it forget them."""
    instances = dict(cls._instance_dict)
    cls._instance_dict.clear()
    return instances


def put_instances(cls: type[ManagerMixin], instances: dict[str, ManagerMixin]) -> None:
    """Restore instances that were taken."""
    cls._instance_dict.update(instances)


@contextlib.contextmanager
def checkpoints_saved_by(save: Callable[..., None]) -> Iterator[None]:
    """Make every Runner save by ``save(checkpoint, filename, **kwargs)`` while the context is open."""
    from mmengine.runner import runner

    original, runner.save_checkpoint = runner.save_checkpoint, save
    try:
        yield
    finally:
        runner.save_checkpoint = original


def is_resumed(runner: Runner) -> bool:
    """Return whether a Runner resumes a run."""
    return runner._resume


def resumed_file(runner: Runner) -> Path | None:
    """Return the file that a Runner resumes from, with MMEngine's rules."""
    from mmengine.runner import find_latest_checkpoint

    path = (runner._load_from or find_latest_checkpoint(runner.work_dir)) if runner._resume else None
    return None if path is None else Path(path)


def base_files(path: str | Path) -> list[str]:
    """Return the files in a config's ``_base_``; none for a config in the lazy style, whose bases are imports."""
    path = str(path)
    if Config._is_lazy_import(path):
        return []
    return [Config._get_cfg_path(base, path)[0] for base in Config._get_base_files(path)]


def accumulative_counts(wrapper: OptimWrapper) -> int:
    """Return the number of iterations whose gradients are accumulated for one step."""
    return wrapper._accumulative_counts


def count_iteration(wrapper: OptimWrapper) -> None:
    """Count an iteration, as the wrapper's ``backward()`` does."""
    wrapper._inner_count += 1


def resizing_modules(model: nn.Module) -> list[nn.Module]:
    """Return parts of a model, such as MMDetection's BatchSyncRandomResize, that keep an input size for iterations."""
    return [module for module in model.modules() if hasattr(module, '_input_size')]


def input_size(module: nn.Module) -> tuple[int, int] | None:
    """Return the size, height and width, that one of :func:`resizing_modules` has drawn."""
    return module._input_size


def set_input_size(module: nn.Module, size: tuple[int, int] | None) -> None:
    """Set the return value of :func:`input_size`."""
    module._input_size = size
