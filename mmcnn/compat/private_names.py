"""Every name of a dependency that is private or undocumented and that mmcnn needs, each with its reason.

Where a name can be wrapped, a function or an alias here is the only place that has it. A subclass that uses or replaces
what its base class keeps to itself does so in its own file, which the table names. tests/compat/test_private_names.py
fails when an upgrade moves one of them, or when another one is touched elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mmengine.device.utils
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.utils import ManagerMixin
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

if TYPE_CHECKING:
    from mmengine.runner import Runner

__all__ = ['PRIVATE_NAMES', 'BatchNorm', 'TorchDispatchMode']


class PrivateName(NamedTuple):
    """A name that may change without notice.

    Attributes:
        name: with its module and class.
        used_by: what wraps it here, or the file of the subclass that uses it.
        why: what it is needed for.
        instead: what would make it unnecessary.
    """

    name: str
    used_by: str
    why: str
    instead: str


#: What the names were tried with. The tests of each are to be run with whatever replaces one of these.
TRIED_WITH = {'python': '3.11', 'torch': '2.13', 'mmengine': '0.10.7', 'mmdet': '3.3.0'}

_HOOK = 'mmcnn/engine/atomic_checkpoint_hook.py'
_LOOP = 'mmcnn/engine/resumable_train_loop.py'

PRIVATE_NAMES = (
    PrivateName(
        'multiprocessing.queues.Queue._on_queue_feeder_error', 'on_queue_feeder_error',
        'a worker that cannot hand a batch over has to end', 'an argument of Queue',
    ),
    PrivateName(
        'torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__del__', 'delete_unstarted_iterators_quietly',
        'it fails, and prints a traceback, if the workers could not be started',
        'a mended https://github.com/pytorch/pytorch/issues/64895',
    ),
    PrivateName(
        'torch.utils.data.dataloader._MultiProcessingDataLoaderIter._workers_status',
        'delete_unstarted_iterators_quietly', 'the last attribute that it sets and __del__ needs', 'as above',
    ),
    PrivateName(
        'torch.utils.data.DataLoader._iterator', 'end_workers',
        'persistent workers have to end: with the run, or because the data set has changed', 'DataLoader.close()',
    ),
    PrivateName(
        'torch.utils.data.dataloader._MultiProcessingDataLoaderIter._shutdown_workers', 'end_workers',
        'garbage collection would wait 5 s for each', 'DataLoader.close()',
    ),
    PrivateName(
        'torch.nn.modules.batchnorm._BatchNorm', 'BatchNorm',
        'the base class of all BatchNorms, of those that MMEngine makes of SyncBatchNorm too', 'a public base class',
    ),
    PrivateName(
        'torch.nn.Module._forward_hooks', 'has_forward_hooks',
        'a layer with hooks must not be folded away', 'a public list of hooks',
    ),
    PrivateName(
        'torch.nn.Module._forward_pre_hooks', 'has_forward_hooks', 'as above', 'as above',
    ),
    PrivateName(
        'torch.utils._python_dispatch.TorchDispatchMode', 'TorchDispatchMode',
        'costs are counted operator by operator as called', 'a public name; its documentation already uses this one',
    ),
    PrivateName(
        'torch._foreach_mul_', 'average_in_place', 'one kernel for hundreds of weights, rounded as mul_ and add_ do',
        'get_ema_multi_avg_fn of torch.optim.swa_utils, which rounds as lerp_ does',
    ),
    PrivateName('torch._foreach_add_', 'average_in_place', 'as above', 'as above'),
    PrivateName(
        'torch.cpu._is_avx512_bf16_supported', 'cpu_capabilities',
        'whether a processor computes in bfloat16, before PyTorch has get_capabilities() (2.6 to about 2.11)',
        'a lowest version of PyTorch that has torch.cpu.get_capabilities',
    ),
    PrivateName('torch.cpu._is_amx_tile_supported', 'cpu_capabilities', 'as above', 'as above'),
    PrivateName(
        'mmengine.device.utils.DEVICE', 'device_of_mmengine, set_device_of_mmengine',
        'what MMEngine takes for the device of the process', 'a public setter; there is get_device() only',
    ),
    PrivateName(
        'mmengine.utils.ManagerMixin._instance_dict', 'taken_instances, put_instances',
        'two runs of one process must not share loggers and hubs', 'a public way to drop an instance',
    ),
    PrivateName(
        'mmengine.runner.runner.save_checkpoint', 'checkpoints_saved_by',
        'the Runner is to write checkpoints whole, without a copy in memory', 'a writer as an argument of the Runner',
    ),
    PrivateName(
        'mmengine.runner.Runner._load_from', 'resumed_file', 'what the Runner resumes from', 'a public property',
    ),
    PrivateName(
        'mmengine.runner.Runner._resume', 'resumed_file, is_resumed', 'whether the Runner resumes', 'a public property',
    ),
    PrivateName(
        'mmengine.optim.OptimWrapper._accumulative_counts', 'accumulative_counts',
        'iterations of a step', 'a public property',
    ),
    PrivateName(
        'mmengine.optim.OptimWrapper._inner_count', 'count_iteration',
        'a batch that is refused counts as an iteration all the same', 'a public method',
    ),
    PrivateName(
        'mmdet.models.BatchSyncRandomResize._input_size', 'input_size, set_input_size',
        'a resumed run goes on with the size of the last ten iterations', 'a public property',
    ),
    PrivateName(
        'mmengine.config.Config._get_base_files', 'base_files',
        'what a config has inherited is told from what it says itself', 'a Config that keeps its bases',
    ),
    PrivateName(
        'mmengine.config.Config._is_lazy_import', 'base_files',
        'a config in the lazy style has its bases as imports', 'as above',
    ),
    PrivateName(
        'mmengine.hooks.CheckpointHook._save_best_checkpoint', _HOOK,
        'what a better checkpoint replaces is deleted after it, not before', 'a public hook method',
    ),
    PrivateName(
        'mmengine.hooks.CheckpointHook._save_checkpoint_with_step', _HOOK, 'as above', 'as above',
    ),
    PrivateName(
        'mmengine.runner.EpochBasedTrainLoop._epoch', _LOOP, 'the loop counts epochs itself', 'a public setter',
    ),
    PrivateName(
        'mmengine.runner.EpochBasedTrainLoop._iter', _LOOP, 'the loop counts iterations itself', 'a public setter',
    ),
    PrivateName(
        'mmengine.runner.EpochBasedTrainLoop._decide_current_val_interval', _LOOP,
        'validates as often as MMEngine would', 'a public method',
    ),
    PrivateName(
        'mmengine.config.Config._get_cfg_path', 'mmcnn/compat/packaged_configs.py',
        'a base named by its package is looked up by pkg_resources, which is gone, and mmcnn:: is not known',
        'a release of MMEngine with https://github.com/open-mmlab/mmengine/pull/1676 that knows mmcnn, too',
    ),
    PrivateName(
        'mmengine.visualization.vis_backend.BaseVisBackend._init_env', 'mmcnn/engine/vis_backends.py',
        'every back end has to define it, though its name says otherwise', 'a public abstract method',
    ),
    PrivateName(
        'mmengine.dataset.BaseDataset._metainfo', 'mmcnn/datasets/folders/classes.py',
        'the classes are known once the folders are read; metainfo is a copy', 'a public setter',
    ),
    PrivateName(
        'mmdet.evaluation.CocoMetric._coco_api', 'mmcnn/evaluation/coco_metric.py',
        'the annotations as the base class has read them', 'a public property',
    ),
    PrivateName(
        'mmdet.models.dense_heads.AnchorHead._get_targets_single', 'mmcnn/models/dense_heads/rpn_head.py',
        'it waits for a GPU six times for each image', 'a public method for the targets of an image',
    ),
    PrivateName(
        'mmdet.models.roi_heads.mask_heads.fcn_mask_head._do_paste_mask', 'mmcnn/compat/paste_mask.py',
        'it fails on the CPU for a box outside of the image',
        'a release of MMDetection that mends https://github.com/hustvl/QueryInst/issues/41',
    ),
)  # fmt: skip


def on_queue_feeder_error(react: Callable[[Exception, Any], object]) -> None:
    """Calls ``react(error, object)`` where a queue of this process cannot send an object, instead of printing that."""
    Queue._on_queue_feeder_error = staticmethod(react)


def delete_unstarted_iterators_quietly() -> None:
    """An iterator of a ``DataLoader`` whose workers could not be started is deleted without a traceback."""
    if getattr(_MultiProcessingDataLoaderIter.__del__, 'is_quiet', False):
        return
    delete = _MultiProcessingDataLoaderIter.__del__

    def delete_if_started(iterator: _MultiProcessingDataLoaderIter) -> None:
        if hasattr(iterator, '_workers_status'):
            delete(iterator)

    delete_if_started.is_quiet = True
    _MultiProcessingDataLoaderIter.__del__ = delete_if_started


def end_workers(loader: DataLoader) -> None:
    """Ends the persistent workers of a loader; its next iteration starts new ones."""
    if loader._iterator is not None:
        if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
            loader._iterator._shutdown_workers()
        loader._iterator = None


def has_forward_hooks(module: nn.Module) -> bool:
    """Whether something watches or changes what a module is given or gives."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def average_in_place(averages: list[Tensor], values: list[Tensor], weight: float) -> None:
    """``average * (1 - weight) + value * weight`` of each pair, rounded as by ``mul_`` and ``add_``."""
    torch._foreach_mul_(averages, 1 - weight)
    torch._foreach_add_(averages, values, alpha=weight)


def cpu_capabilities() -> Mapping[str, Any]:
    """What the processor can do, by the names of ``torch.cpu.get_capabilities``; older PyTorch knows less of it."""
    if hasattr(torch.cpu, 'get_capabilities'):
        return torch.cpu.get_capabilities()
    # Every processor with tiles has products of bfloat16 in them.
    names = dict(avx512_bf16='_is_avx512_bf16_supported', amx_bf16='_is_amx_tile_supported')
    return {key: getattr(torch.cpu, name)() for key, name in names.items() if hasattr(torch.cpu, name)}


def device_of_mmengine() -> str:
    """The device that MMEngine puts models on: 'cuda', 'cpu' ..."""
    return mmengine.device.utils.DEVICE


def set_device_of_mmengine(device: str) -> None:
    """Sets what :func:`device_of_mmengine` gives."""
    mmengine.device.utils.DEVICE = device


def taken_instances(cls: type[ManagerMixin]) -> dict[str, ManagerMixin]:
    """The instances of a class that MMEngine keeps by name; it forgets them."""
    instances = dict(cls._instance_dict)
    cls._instance_dict.clear()
    return instances


def put_instances(cls: type[ManagerMixin], instances: dict[str, ManagerMixin]) -> None:
    """Lets MMEngine know instances again that were taken."""
    cls._instance_dict.update(instances)


@contextlib.contextmanager
def checkpoints_saved_by(save: Callable[..., None]) -> Iterator[None]:
    """While it is open, every Runner saves by ``save(checkpoint, filename, **kwargs)``."""
    from mmengine.runner import runner

    original, runner.save_checkpoint = runner.save_checkpoint, save
    try:
        yield
    finally:
        runner.save_checkpoint = original


def is_resumed(runner: Runner) -> bool:
    """Whether a Runner resumes a run."""
    return runner._resume


def resumed_file(runner: Runner) -> Path | None:
    """The file that a Runner resumes from, found as it finds it."""
    from mmengine.runner import find_latest_checkpoint

    path = (runner._load_from or find_latest_checkpoint(runner.work_dir)) if runner._resume else None
    return None if path is None else Path(path)


def base_files(path: str | Path) -> list[str]:
    """The files that a config says are its ``_base_``; none for one in the lazy style, whose bases are imports."""
    path = str(path)
    if Config._is_lazy_import(path):
        return []
    return [Config._get_cfg_path(base, path)[0] for base in Config._get_base_files(path)]


def accumulative_counts(wrapper: OptimWrapper) -> int:
    """Iterations whose gradients make a step."""
    return wrapper._accumulative_counts


def count_iteration(wrapper: OptimWrapper) -> None:
    """Counts an iteration, as the wrapper's ``backward()`` does."""
    wrapper._inner_count += 1


def resizing_modules(model: nn.Module) -> list[nn.Module]:
    """Parts of a model, such as MMDetection's BatchSyncRandomResize, that keep an input size for some iterations."""
    return [module for module in model.modules() if hasattr(module, '_input_size')]


def input_size(module: nn.Module) -> tuple[int, int] | None:
    """The size, height and width, that one of :func:`resizing_modules` has drawn."""
    return module._input_size


def set_input_size(module: nn.Module, size: tuple[int, int] | None) -> None:
    """Sets what :func:`input_size` gives."""
    module._input_size = size
