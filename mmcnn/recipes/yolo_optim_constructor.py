"""The three parameter groups of the YOLO recipes."""

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.recipes.fused_optimizer import fused_on_cpu, ready_for_fused
from mmcnn.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORM_LAYERS = (BatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class YOLOOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimizer with at most three named groups; only the first one decays.

    - ``weight``: convolution and linear weights, and any other parameter with two or more dimensions; the
      optimizer's own ``weight_decay``.
    - ``norm``: weights of normalisation layers, and any other parameter with one dimension or none; no decay.
    - ``bias``: all biases, including those of normalisation layers; no decay. The name lets
    :class:`~mmcnn.recipes.ScheduleHook` warm their learning rate up from above.

    Parameters that need no gradient when the optimizer is built (frozen levels) are left out, a shared parameter is
    taken once, an empty group is dropped. Source: Darknet and YOLOv5 (decay on convolution weights only).

    On the CPU, SGD, Adam and AdamW compute in one pass over each tensor (:mod:`~mmcnn.recipes.fused_optimizer`).

    Args:
        optim_wrapper_cfg (dict): The optimizer wrapper's config, with the key ``optimizer``.
        paramwise_cfg (dict, optional): Must be None or empty: the grouping is fixed.

    Raises:
        ValueError: If ``paramwise_cfg`` is not empty, or (when called) if no parameter needs a gradient.

    Example:
        >>> optim_wrapper = dict(
        ...     type='OptimWrapper',
        ...     optimizer=dict(type='SGD', lr=0.01, momentum=0.937, weight_decay=5e-4, nesterov=True),
        ...     constructor='mmcnn.YOLOOptimWrapperConstructor')
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise ValueError(
                f'YOLOOptimWrapperConstructor has fixed groups (weight, norm, bias) and takes no paramwise_cfg, '
                f"but got {paramwise_cfg!r}; remove it or use MMEngine's DefaultOptimWrapperConstructor"
            )
        super().__init__(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper for ``model``, or for the model inside a wrapper such as DDP."""
        groups = _group_parameters(model.module if is_model_wrapper(model) else model)
        cfg = fused_on_cpu(self.optimizer_cfg, [each for group in groups for each in group['params']])
        optimizer = ready_for_fused(OPTIMIZERS.build(dict(cfg, params=groups)))
        for group in optimizer.param_groups:
            print_log(
                f'parameter group {group["name"]!r}: {len(group["params"])} tensors, '
                f'{sum(p.numel() for p in group["params"])} values, weight decay {group.get("weight_decay", 0)}',
                logger='current',
            )
        wrapper_cfg = dict(self.optim_wrapper_cfg)
        wrapper_cfg.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(wrapper_cfg, default_args={'optimizer': optimizer})


def _group_parameters(model: nn.Module) -> list[dict]:
    groups = {
        'weight': {'params': [], 'name': 'weight'},
        'norm': {'params': [], 'name': 'norm', 'weight_decay': 0.0},
        'bias': {'params': [], 'name': 'bias', 'weight_decay': 0.0},
    }
    seen = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            if name == 'bias':
                group = 'bias'
            elif isinstance(module, NORM_LAYERS) or parameter.ndim <= 1:
                group = 'norm'
            else:
                group = 'weight'
            groups[group]['params'].append(parameter)
    if not seen:
        raise ValueError(
            f'{type(model).__name__} has no parameter that requires a gradient; check frozen_stages and requires_grad'
        )
    return [group for group in groups.values() if group['params']]
