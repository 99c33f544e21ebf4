"""Mish: PyTorch's, and faster ones on a CPU, for inference and for training in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.onednn import is_watched
from mmcnn.registry import MODELS

#: Number of elements that are computed at a time, so that intermediate results stay in the cache.
_CHUNK = 1 << 15
#: The same for inference, for each thread.
_CHUNK_OF_THREAD = 1 << 16
#: Maps of fewer elements are left to PyTorch's kernel in inference.
_LEAST = 1 << 14
#: Above this Mish is the identity in float32, and the square of the exponential would soon be infinite.
_LARGEST = 30.0


@MODELS.register_module()
class Mish(nn.Mish):
    """``x * tanh(softplus(x))`` (Misra, arXiv 1908.08681).

    PyTorch's kernels compute an exponential, a logarithm and a hyperbolic tangent each way, which is a third of a step
    and a quarter or more of the inference of a YOLOv4 on a CPU. There, maps are computed from their sigmoid in
    inference, in a third of the time and with the same precision. In training in bfloat16, the derivative is computed
    at the same time and kept instead of ``x``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply Mish to a tensor of any shape."""
        if is_watched() or type(x) is not Tensor or not x.is_cpu or x.dtype not in (torch.float32, torch.bfloat16):
            return F.mish(x)
        if torch.is_grad_enabled() and x.requires_grad:
            return _MishWithSlope.apply(x) if x.dtype is torch.bfloat16 else F.mish(x)
        return F.mish(x) if x.numel() < _LEAST else _from_sigmoid(x, self.inplace)


def _from_sigmoid(x: Tensor, overwrite: bool) -> Tensor:
    """Compute Mish without a gradient; with s = sigmoid(x) and w = s (2 - s), it is x w / (2 - w)."""
    if not _is_dense(x):
        x, overwrite = x.contiguous(), True
    out = x if overwrite else torch.empty_like(x)
    chunk = min(_CHUNK_OF_THREAD * torch.get_num_threads(), x.numel())
    v, s, w = (torch.empty(chunk) for _ in range(3))
    two = torch.tensor(2.0)
    for given, value in zip(_in_memory_order(x, chunk), _in_memory_order(out, chunk), strict=True):
        if len(given) < len(s):
            v, s, w = (buffer[: len(given)] for buffer in (v, s, w))
        exact = given if given.dtype is v.dtype else v.copy_(given)
        torch.sigmoid(exact, out=s)
        torch.sub(two, s, out=w).mul_(s)
        torch.sub(two, w, out=s)
        w.div_(s)
        if value.dtype is v.dtype:
            torch.mul(exact, w, out=value)
        else:
            value.copy_(w.mul_(exact))
    return out


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


def _in_memory_order(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """Return the elements of a dense tensor in chunks, whatever the order of its dimensions."""
    return x.as_strided((x.numel(),), (1,)).split(chunk)


class _MishWithSlope(torch.autograd.Function):
    """With e = exp(x), n = e (e + 2) and r = 1 / (n + 2), Mish is x n r and its derivative n r + 4 x e (1 + e) r^2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x if _is_dense(x) else x.contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        flat = [_in_memory_order(each, _CHUNK) for each in (x, y, slope)]
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
