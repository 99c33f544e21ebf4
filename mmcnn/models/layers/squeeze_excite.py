"""Squeeze and excitation (Hu et al., arXiv 1709.01507): each channel is scaled depending on all of them."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmcnn.registry import MODELS

from .one_pass import may_overwrite

MODELS.register_module(module=nn.Hardsigmoid)  # MMCV's own warns at each use that its default has changed


class SqueezeExcite(nn.Module):
    """Global mean, 1x1 to ``squeezed`` with ``act_cfg``, 1x1 back with ``gate_cfg``, times the input.

    (N, C, H, W) to the same shape; both 1x1 convolutions have a bias. With ``inplace``, which :func:`mmcnn.fuse` sets,
    the input is overwritten unless a gradient needs it.
    """

    inplace = False

    def __init__(self, channels: int, squeezed: int, act_cfg: dict, gate_cfg: dict) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = build_activation_layer(act_cfg)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = build_activation_layer(gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        scale = self.gate(self.expand(self.act(self.reduce(channel_means(x)))))
        return x.mul_(scale) if self.inplace and may_overwrite(x) else x * scale


def channel_means(x: Tensor) -> Tensor:
    """Return the mean of each channel of each image: (N, C, H, W) to (N, C, 1, 1)."""
    # A graph that is being traced gets the plain operator.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not (torch.is_grad_enabled() and x.requires_grad):
        return x.mean((2, 3), keepdim=True)
    return _ChannelMeans.apply(x)


class _ChannelMeans(torch.autograd.Function):
    """The same means and gradients as PyTorch's, whose gradient materialises a whole map before it is added."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient / (ctx.shape[2] * ctx.shape[3])).expand(ctx.shape)
