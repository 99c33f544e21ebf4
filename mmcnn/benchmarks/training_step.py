"""CPU time of a forward and a backward pass of a network in training mode, for each way to compute it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mmcnn.benchmarks.comparison import Side
from mmcnn.interleaved import cpu_seconds

#: Memory formats by their names in reports.
FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}


def training_sides(name: str, network: nn.Module, batch_size: int, img_size: int, peer: bool = False) -> Iterator[Side]:
    """Yield sides of a comparison: float32 in both memory formats, and also bfloat16 by autocast for ours.

    Weights are drawn again, the same for networks of equal shape: a library's initialisation may lead to numbers so
    small that the processor is slow with them. Batch size and threads determine PyTorch's kernels (below 16 images on
    one thread a 1x1 convolution is not oneDNN's), so measure with those that you train with.

    Args:
        name: name of the network in reports.
        network: maps (N, 3, H, W) to one or more tensors; left unchanged.
        batch_size: N.
        img_size: H and W, pixels.
        peer: whether it is another library's.
    """
    network = copy.deepcopy(network).train()
    draw_weights(network)
    images = torch.randn(batch_size, 3, img_size, img_size, generator=torch.Generator().manual_seed(0))
    for title, memory_format in FORMATS.items():
        ours, given = copy.deepcopy(network).to(memory_format=memory_format), images.to(memory_format=memory_format)
        yield Side(f'{name} {title}', cpu_seconds(step(ours, given)), peer)
        if not peer:
            yield Side(f'{name} {title} bf16', cpu_seconds(step(ours, given, torch.bfloat16)))


def step(network: nn.Module, images: Tensor, dtype: torch.dtype | None = None) -> Callable[[], None]:
    """Return a forward and a backward pass; gradients are freed, so that each call allocates them again.

    Args:
        network: in training mode.
        images: (N, 3, H, W), on the CPU.
        dtype: type of autocast; None: no autocast.
    """
    parameters = list(network.parameters())

    def call() -> None:
        with torch.autocast('cpu', dtype) if dtype else contextlib.nullcontext():
            maps = network(images)
        sum(each.float().square().mean() for each in ([maps] if isinstance(maps, Tensor) else maps)).backward()
        for parameter in parameters:
            parameter.grad = None

    return call


def draw_weights(network: nn.Module) -> None:
    """Draw kernels of convolutions that preserve the scale of their inputs (He et al., arXiv 1502.01852)."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu', generator=generator)
