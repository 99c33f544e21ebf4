"""'same' padding as TensorFlow and Caffe have it: of an odd total, the odd pixel goes right and to the bottom."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels to pad before and behind ``size``, for ``ceil(size / stride)`` outputs."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    """Pads (N, C, H, W) so that a kernel without padding of its own gives (ceil(H/stride), ceil(W/stride))."""
    top, bottom = same_padding(x.shape[-2], kernel[0], stride[0])
    left, right = same_padding(x.shape[-1], kernel[1], stride[1])
    return F.pad(x, (left, right, top, bottom), value=value) if top or bottom or left or right else x


class SameConv2d(nn.Conv2d):
    """Conv2d with 'same' padding at any stride: (N, C_in, H, W) to (N, C_out, ceil(H/s), ceil(W/s)).

    Keras's explicit (0, 1) pads before a strided 'valid' convolution are the same thing at even sizes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, self.kernel_size, self.stride))


class SameMaxPool2d(nn.MaxPool2d):
    """Max-pool with 'same' padding: (N, C, H, W) to (N, C, ceil(H/s), ceil(W/s)); padding never wins the maximum.

    At even sizes a 3x3 pool of stride 2 is Caffe's pool in ceil mode.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = (self.kernel_size,) * 2, (self.stride,) * 2
        return super().forward(pad_same(x, kernel, stride, value=float('-inf')))


def check_padding(padding: str | None, known: tuple[str | None, ...]) -> None:
    """Raises ValueError unless the padding is one of ``known``."""
    if padding not in known:
        raise ValueError(f'padding={padding!r} has to be one of {", ".join(map(repr, known))}')


def max_pool(kernel_size: int, stride: int, padding: str = 'same') -> nn.MaxPool2d:
    """A max-pool with 'same' or 'valid' (none) padding."""
    check_padding(padding, ('same', 'valid'))
    return (SameMaxPool2d if padding == 'same' else nn.MaxPool2d)(kernel_size, stride)
