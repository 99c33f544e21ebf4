"""The private names of dependencies that mmcnn uses, each with its reason; private_names.py wraps them."""

from __future__ import annotations

from typing import NamedTuple


class PrivateName(NamedTuple):
    """A name that may change without notice.

    Attributes:
        name: the name with its module and class.
        used_by: its wrapper here, or the file of the subclass that uses it.
        why: why it is needed.
        instead: what would make it unnecessary.
    """

    name: str
    used_by: str
    why: str
    instead: str


#: The versions that the names were tested with; their tests must be run with any replacement.
TRIED_WITH = {'python': '3.11', 'torch': '2.13', 'mmengine': '0.10.7', 'mmdet': '3.3.0'}

_HOOK = 'mmcnn/engine/atomic_checkpoint_hook.py'
_LOOP = 'mmcnn/engine/resumable_train_loop.py'

PRIVATE_NAMES = (
    PrivateName(
        'multiprocessing.queues.Queue._on_queue_feeder_error', 'on_queue_feeder_error',
        'a worker that cannot deliver a batch must end', 'an argument of Queue',
    ),
    PrivateName(
        'multiprocessing.synchronize.Event._cond', 'stays_locked',
        'a killed worker may hold the lock of the event that ends an iterator', 'set() with a timeout',
    ),
    PrivateName(
        'torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__del__', 'delete_unstarted_iterators_quietly',
        'it fails with a traceback if the workers could not be started',
        'a fixed https://github.com/pytorch/pytorch/issues/64895',
    ),
    PrivateName(
        'torch.utils.data.dataloader._MultiProcessingDataLoaderIter._workers_status',
        'delete_unstarted_iterators_quietly', 'the last attribute that it sets and __del__ needs', 'as above',
    ),
    PrivateName(
        'torch.utils.data.DataLoader._iterator', 'end_workers',
        'persistent workers must end with the run, or if the data set has changed', 'DataLoader.close()',
    ),
    PrivateName(
        'torch.utils.data.dataloader._MultiProcessingDataLoaderIter._shutdown_workers', 'end_workers',
        'garbage collection would wait 5 s for each', 'DataLoader.close()',
    ),
    PrivateName(
        'torch.nn.modules.batchnorm._BatchNorm', 'BatchNorm',
        'the base class of all BatchNorms, also of those that MMEngine makes from SyncBatchNorm', 'a public base class',
    ),
    PrivateName(
        'torch.nn.Module._forward_hooks', 'has_forward_hooks',
        'a layer with hooks must not be folded away', 'a public list of hooks',
    ),
    PrivateName(
        'torch.nn.Module._forward_pre_hooks', 'has_forward_hooks', 'as above', 'as above',
    ),
    PrivateName(
        'torch.nn.Module._backward_hooks', 'has_hooks',
        'the output of a layer with hooks must not be overwritten', 'as above',
    ),
    PrivateName('torch.nn.Module._backward_pre_hooks', 'has_hooks', 'as above', 'as above'),
    PrivateName(
        'torch.nn.Module._modules', 'has_hooks', 'walking through modules() takes longer than a small convolution',
        'a faster public iterator',
    ),
    PrivateName(
        'torch.nn.Module._parameters', 'parameters_of', 'reading an attribute takes several times as long',
        'faster public attributes',
    ),
    PrivateName('torch.nn.Module._buffers', 'tensors_of', 'as above', 'as above'),
    *(
        PrivateName(f'torch.nn.modules.module.{name}', 'has_hooks', 'global hooks also count', 'as above')
        for name in (
            '_global_backward_hooks',
            '_global_backward_pre_hooks',
            '_global_forward_hooks',
            '_global_forward_pre_hooks',
        )
    ),
    PrivateName(
        'torch.autograd.forward_ad._current_level', 'is_transformed',
        'tools that trace operators support only those of PyTorch', 'a public query',
    ),
    PrivateName(
        'torch._C._are_functorch_transforms_active', 'is_transformed', 'as above', 'as above',
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
        'mmengine.device.utils.DEVICE', 'device_of_mmengine, set_device_of_mmengine',
        'the device that MMEngine assumes', 'a public setter; there is only get_device()',
    ),
    PrivateName(
        'mmengine.utils.ManagerMixin._instance_dict', 'taken_instances, put_instances',
        'two runs of one process must not share loggers and hubs', 'a public way to drop an instance',
    ),
    PrivateName(
        'mmengine.runner.runner.save_checkpoint', 'checkpoints_saved_by',
        'checkpoints must be written atomically, without a copy in memory', 'a writer as an argument of the Runner',
    ),
    PrivateName(
        'mmengine.runner.Runner._load_from', 'resumed_file', 'what the Runner resumes from', 'a public property',
    ),
    PrivateName(
        'mmengine.runner.Runner._resume', 'resumed_file, is_resumed', 'whether the Runner resumes', 'a public property',
    ),
    PrivateName(
        'mmengine.optim.OptimWrapper._accumulative_counts', 'accumulative_counts',
        'iterations per step', 'a public property',
    ),
    PrivateName(
        'mmengine.optim.OptimWrapper._inner_count', 'count_iteration',
        'a rejected batch still counts as an iteration', 'a public method',
    ),
    PrivateName(
        'mmdet.models.BatchSyncRandomResize._input_size', 'input_size, set_input_size',
        'a resumed run continues with the size of the last ten iterations', 'a public property',
    ),
    PrivateName(
        'mmengine.config.Config._get_base_files', 'base_files',
        'to distinguish inherited entries of a config from its own', 'a Config that keeps its bases',
    ),
    PrivateName(
        'mmengine.config.Config._is_lazy_import', 'base_files',
        'a config in the lazy style has its bases as imports', 'as above',
    ),
    PrivateName(
        'mmengine.hooks.CheckpointHook._save_best_checkpoint', _HOOK,
        'a replaced checkpoint is deleted after the better one is written, not before', 'a public hook method',
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
        'a base named by its package is looked up by pkg_resources, which is gone, and mmcnn:: is unknown',
        'a release of MMEngine with https://github.com/open-mmlab/mmengine/pull/1676 and support for mmcnn',
    ),
    PrivateName(
        'mmengine.visualization.vis_backend.BaseVisBackend._init_env', 'mmcnn/engine/vis_backends.py',
        'every back end must define it, although its name is private', 'a public abstract method',
    ),
    PrivateName(
        'mmengine.dataset.BaseDataset._metainfo', 'mmcnn/datasets/folders/classes.py',
        'the classes are known once the folders are read; metainfo is a copy', 'a public setter',
    ),
    PrivateName(
        'mmdet.evaluation.CocoMetric._coco_api', 'mmcnn/evaluation/coco_metric.py',
        'the annotations that the base class has read', 'a public property',
    ),
    PrivateName(
        'mmdet.models.roi_heads.mask_heads.fcn_mask_head._do_paste_mask', 'mmcnn/compat/paste_mask.py',
        'it fails on the CPU for a box outside the image',
        'a release of MMDetection that fixes https://github.com/hustvl/QueryInst/issues/41',
    ),
    PrivateName(
        'torch.ops.mkldnn._convolution_pointwise', 'mmcnn/compat/onednn.py',
        'a convolution and its activation in one pass over memory, with a weight that is reordered once',
        'a public operator, or nn.Conv2d that keeps its weight reordered',
    ),
    PrivateName(
        'torch.ops.mkldnn._is_mkldnn_bf16_supported', 'mmcnn/compat/onednn.py',
        'the above rejects bfloat16 if the processor has no AVX512', 'a public query of the processor',
    ),
    PrivateName(
        'torch.utils._python_dispatch.is_in_torch_dispatch_mode', 'is_in_torch_dispatch_mode',
        'tools that count or record operators support only those of PyTorch', 'a public name',
    ),
    PrivateName(
        'torch.Tensor._version', 'mmcnn/compat/onednn.py',
        'a changed weight must be reordered again', 'a public counter',
    ),
    PrivateName(
        'torch.cpu._is_avx512_bf16_supported', 'cpu_capabilities',
        'whether a processor computes in bfloat16, before PyTorch has get_capabilities() (2.6 to about 2.11)',
        'a minimum version of PyTorch that has torch.cpu.get_capabilities',
    ),
    PrivateName('torch.cpu._is_amx_tile_supported', 'cpu_capabilities', 'as above', 'as above'),
    PrivateName(
        'mmdet.models.dense_heads.AnchorHead._get_targets_single', 'mmcnn/models/dense_heads/rpn_head.py',
        'it waits for a GPU six times for each image', 'a public method for the targets of an image',
    ),
)  # fmt: skip
