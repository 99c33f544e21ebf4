"""Seconds of deformable convolution compared with torchvision's operator and a plain convolution."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcnn import ops
from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import BenchmarkOptions
from mmcnn.interleaved import cpu_seconds

#: Shape of the maps: the input of a 3x3 in C4 of ResNet-50 for two images of 800 x 1333 pixels.
SHAPE = (2, 256, 50, 84)
#: A forward pass, and a backward pass that takes a gradient.
Passes = tuple[Callable[[], Tensor], Callable[[Tensor], object]]


def sides(shape: tuple[int, int, int, int] = SHAPE) -> dict[str, Passes]:
    """Return the measured sides by name: a forward call, and a backward call that takes its result as the gradient."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = shape
    x, weight, offset = (
        torch.randn(*each, generator=generator)
        for each in (shape, (channels, channels, 3, 3), (batch, 18, height, width))
    )
    mask, bias = torch.rand(batch, 9, height, width, generator=generator), torch.zeros(channels)
    conv = ops.DeformConv(padding=(1, 1))
    found: dict[str, Passes] = {
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


def measure(options: BenchmarkOptions, say: Say) -> list[Comparison]:
    """Measure CPU seconds of forward and backward, with a plain convolution and torchvision's operator as peers."""
    say(f'3 x 3 of {" x ".join(map(str, SHAPE))}')
    found = sides()
    if 'torchvision' not in found:
        say('torchvision: not measured, its operators are not available')
    forward, backward = [], []
    for name, (there, back) in found.items():
        output = there()
        forward.append(Side(name, cpu_seconds(there), name == 'torchvision'))
        backward.append(Side(name, cpu_seconds(partial(back, output)), name == 'torchvision'))
    return [compare('forward', forward, options.runs), compare('backward', backward, options.runs)]
