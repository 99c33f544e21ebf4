"""Mish: PyTorch's, and a faster one for training in bfloat16 on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.private_names import is_transformed
from mmcnn.registry import MODELS

#: Number of elements that are computed at a time, so that intermediate results stay in the cache.
_CHUNK = 1 << 15
#: Above this Mish is the identity in float32, and the square of the exponential would soon be infinite.
_LARGEST = 30.0


@MODELS.register_module()
class Mish(nn.Mish):
    """``x * tanh(softplus(x))`` (Misra, arXiv 1908.08681).

    In training in bfloat16 on a CPU, its derivative is computed at the same time and kept instead of ``x``: PyTorch's
    kernels compute an exponential, a logarithm and a hyperbolic tangent each way, which is a third of a YOLOv4 step.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply Mish to a tensor of any shape."""
        in_training = x.dtype == torch.bfloat16 and x.device.type == 'cpu' and x.requires_grad
        recorded = torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed()
        if in_training and torch.is_grad_enabled() and not recorded:
            return _MishWithSlope.apply(x)
        return F.mish(x)


class _MishWithSlope(torch.autograd.Function):
    """With e = exp(x), n = e (e + 2) and r = 1 / (n + 2), Mish is x n r and its derivative n r + 4 x e (1 + e) r^2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
            x = x.contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        # In memory order, whatever the order of the dimensions.
        flat = [each.as_strided((each.numel(),), (1,)).split(_CHUNK) for each in (x, y, slope)]
        buffers = [torch.empty(min(_CHUNK, x.numel())) for _ in range(5)]
        for given, value, derivative in zip(*flat, strict=True):
            if len(given) < len(buffers[0]):
                buffers = [buffer[: len(given)] for buffer in buffers]
            v, low, e, n, r = buffers
            v.copy_(given)
            torch.exp(torch.clamp(v, max=_LARGEST, out=low), out=e)
            torch.add(e, 2, out=n).mul_(e)
            torch.add(n, 2, out=r).reciprocal_()
            share = n.mul_(r)
            e.addcmul_(e, e).mul_(low).mul_(r).mul_(r)
            value.copy_(v.mul_(share))
            derivative.copy_(share.add_(e, alpha=4))
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError(
                'the second derivative of Mish in bfloat16 on a CPU is not implemented (create_graph=True); use float32'
            )
        (slope,) = ctx.saved_tensors
        return gradient * slope
