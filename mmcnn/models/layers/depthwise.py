"""Gradients of depthwise convolutions in bfloat16 on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.onednn import has_memory, is_watched
from mmcnn.compat.private_names import has_hooks

from .padding import SameConv2d

#: Width of the largest kernel for which oneDNN has a fast gradient of the weight in bfloat16.
_FAST = 3


def convolve(conv: nn.Module, x: Tensor) -> Tensor:
    """Return ``conv(x)``, a depthwise convolution in bfloat16 with faster gradients.

    On the CPU oneDNN has no kernels of its own for the gradient of the input with a stride, nor for that of the weight
    with a kernel wider than 3, and takes 10 to 100 and 3 to 20 times as long as for others (AVX512-BF16, PyTorch 2.13).
    So the former is computed in float32, and the latter by parts of 3x3. In all other cases this is ``conv(x)`` itself.
    """
    if not _is_slow(conv, x):
        return conv(x)
    x, padding = conv.padded(x) if isinstance(conv, SameConv2d) else (x, conv.padding)
    given = [None if each is None else each.bfloat16() for each in (x, conv.weight, conv.bias)]
    return _Depthwise.apply(*given, conv.stride, padding)


def _is_slow(conv: nn.Module, x: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and type(conv) in (nn.Conv2d, SameConv2d)
        and conv.in_channels == conv.out_channels == conv.groups > 1
        and (max(conv.stride) > 1 or conv.kernel_size[1] > _FAST)
        and (conv.dilation, conv.padding_mode) == ((1, 1), 'zeros')
        and not isinstance(conv.padding, str)
        and type(x) is Tensor
        and x.is_cpu
        and x.dim() == 4
        and _in_bfloat16(x, *conv.parameters())
        and (x.requires_grad or conv.weight.requires_grad)
        and not is_watched()
        and not has_hooks(conv)
        and 'forward' not in vars(conv)
    )


def _in_bfloat16(*tensors: Tensor) -> bool:
    """Return whether an operator on these computes in bfloat16; autocast leaves float64 and integers as they are."""
    if torch.is_autocast_enabled('cpu') and torch.get_autocast_dtype('cpu') is torch.bfloat16:
        return all(each.dtype in (torch.float32, torch.bfloat16, torch.float16) for each in tensors)
    return not torch.is_autocast_enabled('cpu') and all(each.dtype is torch.bfloat16 for each in tensors)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution without dilation."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        grads = [None, None, None]
        # Gradients of gradients, and of several losses at once, are for PyTorch's operator.
        plain = torch.is_grad_enabled() or not has_memory(grad)
        if of_x and not plain and max(ctx.stride) > 1:
            # Only the size and the memory layout of the input are used.
            single = torch.empty_like(x, dtype=torch.float32)
            found = _backward(grad.float(), single, weight.float(), ctx.stride, ctx.padding, 0)[0]
            grads[0], of_x = found.to(x.dtype), False
        if of_weight and not plain and weight.shape[3] > _FAST:
            grads[1], of_weight = _by_parts(grad, x, weight, ctx.stride, ctx.padding), False
        if of_bias and not plain:  # PyTorch's operator would compute the gradient of the weight for it, too
            grads[2], of_bias = grad.float().sum((0, 2, 3)).to(grad.dtype), False
        wanted = of_x, of_weight, of_bias
        if any(wanted):
            rest = _backward(grad, x, weight, ctx.stride, ctx.padding, *(i for i, each in enumerate(wanted) if each))
            grads = [found if each else own for found, each, own in zip(rest, wanted, grads, strict=True)]
        return *grads, None, None


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], *wanted: int
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the input (0), the weight (1) and the bias (2), those that are wanted."""
    channels = len(weight)
    mask = [each in wanted for each in range(3)]
    return torch.ops.aten.convolution_backward(
        grad, x, weight, [channels], stride, padding, (1, 1), False, (0, 0), channels, mask
    )


def _by_parts(grad: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return the gradient of the weight, at most 3x3 of its positions at a time."""
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    height, width = ((size - 1) * step for size, step in zip(grad.shape[2:], stride, strict=True))
    found = []
    for top, rows, above in _parts(weight.shape[2]):
        strips = []
        for left, columns, before in _parts(weight.shape[3]):
            seen = x[:, :, top : top + height + rows, left : left + width + columns].contiguous(memory_format=layout)
            part = weight.new_empty(len(weight), 1, rows, columns)
            strips.append(_backward(grad, seen, part, stride, (0, 0), 1)[1][..., before:])
        found.append(torch.cat(strips, dim=-1)[..., above:, :])
    return torch.cat(found, dim=-2)


def _parts(size: int) -> list[tuple[int, int, int]]:
    """Return (start, length, overlap with the one before) of equal parts that cover a side of a kernel."""
    length = min(size, _FAST)
    starts = [(start, min(start, size - length)) for start in range(0, size, _FAST)]
    return [(start, length, wanted - start) for wanted, start in starts]
