"""BatchNorm of few channels in the training on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmcnn.compat.onednn import has_memory, is_watched
from mmcnn.compat.private_names import has_hooks

#: A cache line has 16 float32 numbers: of fewer channels, several threads write their sums into the same line.
_LINE = 16
#: Number of channels that a map is computed with.
_WIDTH = 64
#: Maps of fewer elements take no longer in PyTorch's kernel.
_LEAST = 1 << 17


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """Return ``norm(x)``; BatchNorm of fewer than 16 channels, trained in channels last by several threads, is faster.

    In PyTorch's kernel, threads keep their sums of the channels side by side, so that with few channels they wait for
    each other's cache lines: a second thread gains nothing (PyTorch 2.13). Here neighbouring pixels count as further
    channels, up to 64, whose statistics are then combined. In bfloat16 the gradient of ``x`` is rounded twice instead
    of once. In all other cases this is ``norm(x)`` itself.
    """
    groups = _groups(norm, x)
    if groups < 2:
        return norm(x)
    y, mean, variance = _NarrowBatchNorm.apply(x, norm.weight, norm.bias, norm.eps, groups)
    if norm.track_running_stats:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            count = x.numel() // x.shape[1]
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * (count / (count - 1)), share)
    return y


def _groups(norm: nn.Module, x: Tensor) -> int:
    """Return how many neighbouring pixels are put side by side; 1: PyTorch's kernel computes this norm."""
    if not (
        type(norm) is nn.BatchNorm2d
        and 1 < norm.num_features < _LINE
        and norm.training
        and not is_watched()
        and torch.get_num_threads() > 1
        and type(x) is Tensor
        and x.is_cpu
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.dim() == 4
        and x.shape[1] == norm.num_features
        and x.numel() >= _LEAST
        and x.is_contiguous(memory_format=torch.channels_last)
        and norm.weight is not None
        and norm.bias is not None
        and all(each.dtype is torch.float32 for each in (*norm.parameters(), *_statistics(norm)))
        and not has_hooks(norm)
        and 'forward' not in vars(norm)
    ):
        return 1
    pixels = x.numel() // x.shape[1]
    return next(groups for groups in range(_WIDTH // x.shape[1], 0, -1) if pixels % groups == 0)


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, ...]:
    return (norm.running_mean, norm.running_var) if norm.track_running_stats else ()


class _NarrowBatchNorm(torch.autograd.Function):
    """Returns the normalised map, and mean and variance of its channels (C,)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, groups: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = _wide(x, groups)
        scale, shift = weight.repeat(groups), bias.repeat(groups)
        means, inverse = torch.native_batch_norm(wide, scale, shift, None, None, True, 0.0, eps)[1:]
        means, inverse = (each.double().view(groups, -1) for each in (means, inverse))
        mean = means.mean(0)
        variance = (inverse**-2 - eps + (means - mean).square()).mean(0).clamp(min=0)
        mean, variance = mean.float(), variance.float()
        y = torch.empty_like(x)  # not a view, so that an activation may overwrite it
        _normalised(wide, scale, shift, mean.repeat(groups), variance.repeat(groups), eps, _wide(y, groups))
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        ctx.eps, ctx.groups = eps, groups
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        # Gradients of gradients, and of several losses at once, are for PyTorch's operator.
        if torch.is_grad_enabled() or not has_memory(grad):
            wanted = [*ctx.needs_input_grad[:3]]
            return *_backward(grad, x, weight, mean, inverse, ctx.eps, wanted), None, None
        groups, count = ctx.groups, x.numel() // x.shape[1]
        wide, outer = (_wide(each.contiguous(memory_format=torch.channels_last), groups) for each in (x, grad))
        statistics = mean.repeat(groups), inverse.repeat(groups)
        of_weight, of_bias = _backward(outer, wide, weight.repeat(groups), *statistics, ctx.eps, [False, True, True])[
            1:
        ]
        of_weight, of_bias = (each.view(groups, -1).sum(0) for each in (of_weight, of_bias))
        of_x = None
        if ctx.needs_input_grad[0]:
            # weight * inverse * (grad - of_bias / count - (x - mean) * inverse * of_weight / count), in two passes
            factor = weight * inverse
            slope = factor * inverse * of_weight / -count
            of_x, second = torch.empty_like(x), torch.empty_like(wide)
            _scaled(outer, factor, factor * of_bias / -count, _wide(of_x, groups))
            _scaled(wide, slope, -slope * mean, second)
            _wide(of_x, groups).add_(second)
        return of_x, of_weight, of_bias, None, None


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, eps: float, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """Return PyTorch's gradients of the map, the scale and the shift, those that are wanted."""
    return torch.ops.aten.native_batch_norm_backward(grad, x, weight, None, None, mean, inverse, True, eps, wanted)


def _normalised(
    wide: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float, out: Tensor
) -> None:
    """Normalise a map (N, C) with given statistics (C,)."""
    unused = mean.new_empty(0)
    torch.ops.aten.native_batch_norm.out(
        wide, scale, shift, mean, variance, False, 0.0, eps, out=out, save_mean=unused, save_invstd=unused.clone()
    )


def _scaled(wide: Tensor, factor: Tensor, shift: Tensor, out: Tensor) -> None:
    """Compute ``wide * factor + shift`` in float32, with vectors of C numbers for a map (N, groups * C)."""
    groups = wide.shape[1] // len(factor)
    zeros, ones = torch.zeros(wide.shape[1]), torch.ones(wide.shape[1])
    _normalised(wide, factor.repeat(groups), shift.repeat(groups), zeros, ones, 0.0, out)


def _wide(x: Tensor, groups: int) -> Tensor:
    """Return a map (N, C, H, W) in channels last as a view (N * H * W / groups, groups * C)."""
    return x.detach().permute(0, 2, 3, 1).reshape(-1, groups * x.shape[1])
