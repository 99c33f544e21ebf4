"""PyTorch's optimizers on the CPU in one pass over each tensor, instead of four or more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: Optimizers whose update PyTorch computes in one kernel on the CPU, by their names in configs.
FUSED = ('SGD', 'Adam', 'AdamW')
#: Arguments of an optimizer that select its implementation, even if they are False.
_CHOICES = ('fused', 'foreach')


def fused_on_cpu(optimizer_cfg: Mapping[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """Return an optimizer's config, with ``fused=True`` if that is the same update in half the time.

    This is the case for real parameters on the CPU, unless the config itself selects an implementation. GPUs keep the
    default. The results differ by rounding: products and sums are fused, too. A resumed run keeps its setting.

    Args:
        optimizer_cfg: with ``type``.
        parameters: trained parameters.
    """
    chosen = any(optimizer_cfg.get(name) is not None for name in _CHOICES) or optimizer_cfg.get('differentiable')
    fits = all(each.is_cpu and each.is_floating_point() and each.layout is torch.strided for each in parameters)
    # A dampened momentum begins with a whole gradient, which zeros would not reproduce (see below).
    if chosen or optimizer_cfg.get('type') not in FUSED or optimizer_cfg.get('dampening') or not fits:
        return dict(optimizer_cfg)
    return {**optimizer_cfg, 'fused': True}


def ready_for_fused(optimizer: Optimizer) -> Optimizer:
    """Make a fused step correct for all memory formats, and for parameters that are added later.

    PyTorch's fused kernels traverse memory from end to end and assume that parameter, gradient and state have the same
    layout; with a gradient or a momentum in another format they would silently mix up entries. That of SGD fails if
    only some of the parameters have a momentum yet.
    """
    optimizer.register_step_pre_hook(_make_alike)
    return optimizer


@torch.no_grad()
def _make_alike(optimizer: Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        if not group.get('fused'):
            continue
        has_momentum = bool(group.get('momentum'))
        for parameter in group['params']:
            if parameter.grad is None:
                continue
            strides = parameter.stride()
            if parameter.grad.stride() != strides:
                parameter.grad = _laid_out(parameter.grad, parameter)
            state = optimizer.state[parameter]
            if has_momentum and state.get('momentum_buffer') is None:
                state['momentum_buffer'] = torch.zeros_like(parameter)
            for name, value in state.items():
                if isinstance(value, Tensor) and value.dim() and value.stride() != strides:
                    state[name] = _laid_out(value, parameter)


def _laid_out(values: Tensor, like: Tensor) -> Tensor:
    """Return the same values in the memory layout of another tensor."""
    return torch.empty_like(like, dtype=values.dtype).copy_(values)
