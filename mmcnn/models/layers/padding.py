"""'same' padding as in TensorFlow and Caffe: if the total is odd, the extra pixel is at the right or bottom.

The arithmetic also works in a graph that is traced at one size and run at another. During tracing, a size is not a
number but a symbol (``torch.export``, ``torch.onnx.export(dynamo=True)``) or a tensor (``torch.jit.trace``), and an
``if``, a ``max`` or an ``int()`` would write the result for this one size into the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the pixels to pad before and after ``size`` for ``ceil(size / stride)`` outputs."""
    # Up to the next multiple of the stride; for 2 in a form whose range the exporters' solver knows.
    missing = size % 2 if stride == 2 else (stride - size % stride) % stride
    total = kernel - stride + missing
    if kernel < stride:
        total = (total + abs(total)) // 2  # max(total, 0), also for a tensor
    return total // 2, total - total // 2


def pad(x: Tensor, pads: tuple[int, int, int, int], value: float = 0.0) -> Tensor:
    """Pad (N, C, H, W) by (left, right, top, bottom) pixels; return ``x`` itself if these are known to be 0."""
    if all(isinstance(each, int) and each == 0 for each in pads):
        return x
    return F.pad(x, pads, value=value)


def pad_same(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    """Pad (N, C, H, W) so that a kernel without padding of its own gives (ceil(H/stride), ceil(W/stride))."""
    rows = same_padding(x.shape[-2], kernel[0], stride[0])
    columns = same_padding(x.shape[-1], kernel[1], stride[1])
    return pad(x, (*columns, *rows), value)


class SameConv2d(nn.Conv2d):
    """Conv2d with 'same' padding at any stride: (N, C_in, H, W) to (N, C_out, ceil(H/s), ceil(W/s)).

    Keras's explicit (0, 1) pads before a strided 'valid' convolution are the same thing at even sizes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/s), ceil(W/s))."""
        x, padding = self.padded(x)
        if padding == self.padding:
            return super().forward(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def padded(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the input (N, C_in, H', W') and the padding with which a plain convolution does the same."""
        rows, columns = map(same_padding, x.shape[-2:], self.kernel_size, self.stride)
        # Numbers, no symbols: with as many pixels on both sides, the convolution's own padding makes no copy.
        equal = all(type(each) is int for each in (*rows, *columns)) and (rows[0], columns[0]) == (rows[1], columns[1])
        if equal and self.padding == (0, 0) and self.padding_mode == 'zeros':
            return x, (rows[0], columns[0])
        return pad(x, (*columns, *rows)), self.padding


class SameMaxPool2d(nn.MaxPool2d):
    """Max-pool with 'same' padding: (N, C, H, W) to (N, C, ceil(H/s), ceil(W/s)); padding never wins the maximum.

    At even sizes a 3x3 pool of stride 2 is Caffe's pool in ceil mode.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H/s), ceil(W/s))."""
        kernel, stride = (self.kernel_size,) * 2, (self.stride,) * 2
        plain = (self.padding, self.dilation, self.return_indices, self.ceil_mode) == (0, 1, False, False)
        if not plain or self.stride == 1 or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return super().forward(pad_same(x, kernel, stride, value=float('-inf')))
        # The pool's own padding makes no copy; ceil mode adds what is missing at the right and at the bottom.
        before = [same_padding(size, self.kernel_size, self.stride)[0] for size in x.shape[-2:]]
        return F.max_pool2d(x, kernel, stride, before, ceil_mode=True)


def check_padding(padding: str | None, known: tuple[str | None, ...]) -> None:
    """Raise ValueError unless the padding is one of ``known``."""
    if padding not in known:
        raise ValueError(f'padding={padding!r} must be one of {", ".join(map(repr, known))}')


def max_pool(kernel_size: int, stride: int, padding: str = 'same') -> nn.MaxPool2d:
    """Return a max-pool with 'same' or 'valid' (none) padding."""
    check_padding(padding, ('same', 'valid'))
    return (SameMaxPool2d if padding == 'same' else nn.MaxPool2d)(kernel_size, stride)
