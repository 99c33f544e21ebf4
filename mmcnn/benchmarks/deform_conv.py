"""Seconds of deformable convolution beside torchvision's operator and a plain convolution."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcnn import ops

#: Of the maps: what a 3x3 in C4 of ResNet-50 sees of two images of 800 x 1333 pixels.
SHAPE = (2, 256, 50, 84)
#: A forward pass, and a backward pass that is given a gradient.
Side = tuple[Callable[[], Tensor], Callable[[Tensor], object]]


def sides(shape: tuple[int, int, int, int] = SHAPE) -> dict[str, Side]:
    """What is measured, by name: a forward call, and a backward call that takes its result as the gradient."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = shape
    x, weight, offset = (
        torch.randn(*each, generator=generator)
        for each in (shape, (channels, channels, 3, 3), (batch, 18, height, width))
    )
    mask, bias = torch.rand(batch, 9, height, width, generator=generator), torch.zeros(channels)
    conv = ops.DeformConv(padding=(1, 1))
    found: dict[str, Side] = {
        'mmcnn': (
            lambda: ops.deform_conv_forward(x, offset, weight, mask, bias, conv),
            lambda grad: ops.deform_conv_backward(grad, x, offset, weight, mask, conv),
        ),
        'plain convolution': (
            lambda: F.conv2d(x, weight, bias, padding=1),
            lambda grad: torch.ops.aten.convolution_backward(
                grad, x, weight, [len(bias)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True] * 3
            ),
        ),
    }
    forward, backward = (ops.torchvision_op(name, 'cpu') for name in ('deform_conv2d', '_deform_conv2d_backward'))
    if forward is not None and backward is not None:
        given = (x, weight, offset, mask, bias, 1, 1, 1, 1, 1, 1, 1, 1, True)
        found['torchvision'] = (lambda: forward(*given), lambda grad: backward(grad, *given))
    return found


def measure(side: Side, runs: int) -> tuple[float, float]:
    """Seconds of CPU of the fastest forward and the fastest backward pass."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        output = side[0]()
        middle = time.process_time()
        side[1](output)
        seconds.append((middle - start, time.process_time() - middle))
    return tuple(min(each) for each in zip(*seconds, strict=True))


def report(name: str, seconds: tuple[float, float], shape: tuple[int, ...] = SHAPE) -> str:
    """A line."""
    return f'{name}: 3 x 3 of {" x ".join(map(str, shape))}: forward {seconds[0]:.3f} s, backward {seconds[1]:.3f} s'
