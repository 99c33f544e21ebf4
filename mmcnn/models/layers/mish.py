"""Mish: PyTorch's, and faster ones on a CPU, for inference and for training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.onednn import is_watched
from mmcnn.registry import MODELS

#: Number of elements that a thread computes at a time: few enough for intermediate results to stay in a cache, and many
#: enough for the calls, 2 us each, to take little time.
_CHUNK_OF_THREAD = 1 << 17
#: In float32 and in inference, maps of fewer elements are left to PyTorch's kernel.
_LEAST = 1 << 14
#: Below this the sigmoid is 0 in float32. Maps with such numbers are left to PyTorch's kernel in training in bfloat16.
_LOWEST = -88.0
#: From here a is 0 in float32, whose product with infinity is undefined.
_LARGEST = 30.0


@MODELS.register_module()
class Mish(nn.Mish):
    """``x * tanh(softplus(x))`` (Misra, arXiv 1908.08681).

    PyTorch's kernels compute an exponential, a logarithm and a hyperbolic tangent each way, which is a third of a step
    and a quarter or more of the inference of a YOLOv4 on a CPU. There, maps and their derivative are computed from the
    sigmoid, in a third of the time and with the same precision. In training in bfloat16, the derivative is computed at
    the same time as the map and kept instead of ``x``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply Mish to a tensor of any shape."""
        if is_watched() or type(x) is not Tensor or not x.is_cpu or x.dtype not in (torch.float32, torch.bfloat16):
            return F.mish(x)
        trains = torch.is_grad_enabled() and x.requires_grad
        if trains and x.dtype is torch.bfloat16:
            is_normal = not x.numel() or bool(x.detach().amin() >= _LOWEST)
            return _MishWithSlope.apply(x) if is_normal else F.mish(x)
        if x.numel() < _LEAST:
            return F.mish(x)
        return _MishFromSigmoid.apply(x) if trains else _from_sigmoid(x, self.inplace)


def _from_sigmoid(x: Tensor, overwrite: bool) -> Tensor:
    """Compute Mish without a gradient; with s = sigmoid(x) and w = s (2 - s), it is x w / (2 - w)."""
    if not _is_dense(x):
        x, overwrite = x.contiguous(), True
    out = x if overwrite else torch.empty_like(x)
    two = torch.tensor(2.0)
    for given, value, v, s, w in _in_chunks(x, out, buffers=3):
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


def _in_chunks(*tensors: Tensor, buffers: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the elements of dense tensors of one layout in chunks (N,), and as many float32 buffers (N,)."""
    number = tensors[0].numel()
    chunk = min(_CHUNK_OF_THREAD * torch.get_num_threads(), number)
    whole = [torch.empty(chunk) for _ in range(buffers)]
    for parts in zip(*(each.as_strided((number,), (1,)).split(chunk) for each in tensors), strict=True):
        yield *parts, *(buffer[: len(parts[0])] for buffer in whole)


def _terms(v: Tensor, s: Tensor, a: Tensor, w: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Return Mish divided by ``v``, and its derivative; all are (N,) float32.

    With s = sigmoid(v), a = 1 - s, w = s (1 + a) and d = 1 + a a, they are w / d and w / d + 4 v s (a / d)^2.
    """
    one = torch.tensor(1.0)
    torch.sub(one, torch.sigmoid(v, out=s), out=a)
    torch.addcmul(s, s, a, out=w)
    torch.addcmul(one, a, a, out=d)
    w.div_(d)
    a.div_(d)
    s.mul_(torch.clamp(v, max=_LARGEST, out=d)).mul_(a)
    return w, torch.addcmul(w, s, a, value=4, out=d)


class _MishFromSigmoid(torch.autograd.Function):
    """For float32: keeps ``x``, as PyTorch does, and can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _from_sigmoid(x, overwrite=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            share = F.softplus(x).tanh()
            return gradient * (share + x * x.sigmoid() * (1 - share.square()))
        x = x if _is_dense(x) else x.contiguous()
        if gradient.stride() != x.stride():
            gradient = torch.empty_like(x).copy_(gradient)
        product = torch.empty_like(x)
        for given, outer, out, *buffers in _in_chunks(x, gradient, product, buffers=4):
            torch.mul(outer, _terms(given, *buffers)[1], out=out)
        return product


class _MishWithSlope(torch.autograd.Function):
    """For bfloat16: keeps the derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x if _is_dense(x) else x.contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        for given, value, derivative, v, *buffers in _in_chunks(x, y, slope, buffers=5):
            share, exact = _terms(v.copy_(given), *buffers)
            value.copy_(share.mul_(v))
            derivative.copy_(exact)
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
