"""Layers of densely connected networks (Huang et al., arXiv 1608.06993), with the normalisation first."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmcnn.compat.onednn import state_of
from mmcnn.compat.private_names import BatchNorm, has_forward_hooks

from .concat import concatenate
from .conv import ConvNormAct, build_norm
from .one_pass import may_overwrite


class NormAct(nn.Module):
    """Normalisation, activation: (N, C, H, W) to the same shape. Key ``bn``.

    With ``keeps_scale``, which :func:`mmcnn.fuse` sets, the factors that a BatchNorm scales and shifts by in inference
    are computed once; a write to ``weight.data`` is not seen then.
    """

    keeps_scale = False
    _kept: tuple[Any, Tensor, Tensor, list[Tensor]] | None = None  # state, scale, shift, and their sources

    def __init__(self, channels: int, *, norm_cfg: dict, act_cfg: dict) -> None:
        super().__init__()
        self.bn = build_norm(norm_cfg, channels)
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        bn = self.bn
        known = isinstance(bn, BatchNorm) and bn.affine and bn.running_mean is not None
        if not (known and x.is_cpu and is_inference(x, bn)):
            return self.act(bn(x))
        # The same numbers, faster, and without a copy for a slice of channels.
        scale, shift = self._kept_scale(bn) if self.keeps_scale else _scale_and_shift(bn)
        return self.act(torch.addcmul(shift, x, scale))

    def _kept_scale(self, bn: nn.Module) -> tuple[Tensor, Tensor]:
        sources = [bn.running_var, bn.running_mean, bn.weight, bn.bias]
        state = [bn.eps, *map(state_of, sources)]
        if None in state:
            return _scale_and_shift(bn)
        if self._kept is None or self._kept[0] != state:
            # The sources are kept, so that no others can be allocated at the same addresses.
            self._kept = (state, *_scale_and_shift(bn), [source.detach() for source in sources])
        return self._kept[1:3]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_kept': None}  # a copy makes its own


def _scale_and_shift(bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the factors (C, 1, 1) that a BatchNorm multiplies by and adds in evaluation mode."""
    scale = (bn.running_var + bn.eps).sqrt().reciprocal() * bn.weight
    shift = bn.bias - bn.running_mean * scale
    return scale[:, None, None], shift[:, None, None]


class DenseLayer(nn.Module):
    """BN, act, 1x1 to ``bottleneck``, BN, act, 3x3 to ``growth``: (N, C_in, H, W) to (N, growth, H, W)."""

    def __init__(self, in_channels: int, bottleneck: int, growth: int, **norm_act: dict) -> None:
        super().__init__()
        self.pre = NormAct(in_channels, **norm_act)
        self.conv1 = ConvNormAct(in_channels, bottleneck, 1, **norm_act)
        self.conv2 = nn.Conv2d(bottleneck, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, growth, H, W)."""
        return self.conv2(self.conv1(self.pre(x)))


class DenseBlock(nn.ModuleDict):
    """``depth`` dense layers, each fed with all maps before it; keys ``layer1``, ``layer2``, ...

    (N, C, H, W) to (N, C + depth * growth, H, W): the input first, then the layers' outputs in order.
    """

    def __init__(self, in_channels: int, depth: int, bottleneck: int, growth: int, **norm_act: dict) -> None:
        super().__init__(
            {
                f'layer{i + 1}': DenseLayer(in_channels + i * growth, bottleneck, growth, **norm_act)
                for i in range(depth)
            }
        )
        self.growth = growth

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + depth * growth, H, W)."""
        if x.is_cpu and is_inference(x, self):
            return self._in_one_map(x)
        maps = [x]
        for layer in self.values():
            maps.append(layer(concatenate(maps)))
        return concatenate(maps)

    def _in_one_map(self, x: Tensor) -> Tensor:
        """Compute the same for inference; each output is copied only once, to its final place."""
        channels, depth, growth = x.shape[1], len(self), self.growth
        last = x.is_contiguous(memory_format=torch.channels_last)
        maps = torch.empty(
            (len(x), channels + depth * growth, *x.shape[2:]),
            dtype=x.dtype,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        maps[:, :channels] = x
        for i, layer in enumerate(self.values()):
            begin = channels + i * growth
            maps[:, begin : begin + growth] = layer(maps[:, :begin])
        return maps


def is_inference(x: Tensor, module: nn.Module) -> bool:
    """Return whether a module in evaluation mode gets float32 and no gradient, tracer or hook observes it."""
    return (
        not module.training
        and x.dtype is torch.float32
        and may_overwrite(x)
        and not (torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters()))
        and not torch.is_autocast_enabled('cpu')
        and not has_forward_hooks(module)
    )


class Transition(nn.Module):
    """BN, act, 1x1, [2x2 average pool]: (N, C_in, H, W) to (N, C_out, H, W), or (N, C_out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int, pool: bool, **norm_act: dict) -> None:
        super().__init__()
        self.pre = NormAct(in_channels, **norm_act)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        return self.pool(self.conv(self.pre(x)))
