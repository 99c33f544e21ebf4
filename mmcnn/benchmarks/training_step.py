"""CPU time of a forward and a backward pass of a network in training mode, in each way to compute it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mmcnn.benchmarks.comparison import Side
from mmcnn.interleaved import cpu_seconds

#: How maps lie in memory, by what reports call it.
FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}


def training_sides(name: str, network: nn.Module, batch_size: int, img_size: int, peer: bool = False) -> Iterator[Side]:
    """Sides of a comparison: float32 in both memory formats, and the same in bfloat16 by autocast where it is ours.

    Weights are drawn anew, the same for networks of one shape: what a library draws may end in numbers so small that
    the processor is slow with them. Batch size and threads decide which kernels PyTorch takes (below 16 images on one
    thread a 1x1 convolution is not oneDNN's), so measure with those that you train with.

    Args:
        name: what reports call the network.
        network: takes (N, 3, H, W) and gives a tensor, or several; left as it was.
        batch_size: N.
        img_size: H and W, pixels.
        peer: it is another library's.
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
    """A forward and a backward pass; its gradients are freed, so that each call makes them anew.

    Args:
        network: in training mode.
        images: (N, 3, H, W), on the CPU.
        dtype: of autocast; None: without it.
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
    """Kernels of convolutions that keep the size of what goes through them (He et al., arXiv 1502.01852)."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu', generator=generator)
