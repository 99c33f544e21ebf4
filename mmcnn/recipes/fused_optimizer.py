"""PyTorch's optimizers on the CPU in one pass over each tensor, instead of four or more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: Those whose update PyTorch computes in one kernel on the CPU, by the name that configs give them.
FUSED = ('SGD', 'Adam', 'AdamW')
#: Arguments of an optimizer that choose how it computes, also where they are False.
_CHOICES = ('fused', 'foreach')


def fused_on_cpu(optimizer_cfg: Mapping[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """Return an optimizer's config, with ``fused=True`` where that is the same update in half the time.

    That is so for real parameters on the CPU, unless the config itself says how to compute. GPUs keep the default.
    The results differ by rounding: products and sums are fused, too. A resumed run goes on as its checkpoint says.

    Args:
        optimizer_cfg: with ``type``.
        parameters: that are trained.
    """
    chosen = any(optimizer_cfg.get(name) is not None for name in _CHOICES) or optimizer_cfg.get('differentiable')
    fits = all(each.is_cpu and each.is_floating_point() and each.layout is torch.strided for each in parameters)
    # A dampened momentum begins with a whole gradient, which zeros would not give (see below).
    if chosen or optimizer_cfg.get('type') not in FUSED or optimizer_cfg.get('dampening') or not fits:
        return dict(optimizer_cfg)
    return {**optimizer_cfg, 'fused': True}


def ready_for_fused(optimizer: Optimizer) -> Optimizer:
    """Sees to it that a fused step is right whatever the memory formats are, and for parameters that come in late.

    PyTorch's fused kernels go through memory from end to end and take it for granted that parameter, gradient and state
    lie in it alike; with a gradient or a momentum in another format they would mix up entries, silently. That of SGD
    fails where only some of the parameters have a momentum yet.
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
    """Return the same values, in memory as another tensor's."""
    return torch.empty_like(like, dtype=values.dtype).copy_(values)
