"""VoVNet: one-shot aggregation (Lee et al., arXiv 1904.09730), and VoVNetV2 (Lee & Park, arXiv 1911.06667)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from mmcnn.image_format import SYMMETRIC
from mmcnn.models.layers import ConvNormAct, channel_means, concatenate, max_pool
from mmcnn.models.layers.one_pass import may_overwrite, plus_input
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: tuple[int, ...] = (64, 64, 128)  # output channels of the three 3x3, strides 2, 1, 2
    inner: tuple[int, ...] = (128, 160, 192, 224)  # output channels of each 3x3 of the modules, strides 4 to 32
    channels: tuple[int, ...] = (256, 512, 768, 1024)  # output channels of the modules
    layers: int = 5  # number of 3x3 of each module
    depths: tuple[int, ...]  # number of modules of each stage
    identity: bool = False  # whether all modules but the first of a stage have a shortcut
    squeeze: bool = False  # whether the last module of each stage has effective squeeze and excitation


# arXiv 1904.09730, Table 1. (The table has a pool before its first stage of modules; in the authors' networks, and so
# in the published weights, the stem's last convolution has that stride.) Trainable parameters with 1000 classes:
# 3,525,736, 22,600,296 and 36,640,296.
VOVNET39 = Arch(depths=(1, 1, 2, 2))
VOVNET57 = Arch(depths=(1, 1, 4, 3))
# arXiv 1911.06667, section 3.3: the same with shortcuts and effective squeeze and excitation. As in the published
# weights, the first module of a stage has no shortcut and only the last one has squeeze and excitation.
VOVNETV2_39 = replace(VOVNET39, identity=True, squeeze=True)
VARIANTS = {
    'vovnet27-slim': Arch(inner=(64, 80, 96, 112), channels=(128, 256, 384, 512), depths=(1, 1, 1, 1)),
    'vovnet39': VOVNET39,
    'vovnet57': VOVNET57,
    'vovnetv2-19': replace(VOVNETV2_39, layers=3, depths=(1, 1, 1, 1)),
    'vovnetv2-39': VOVNETV2_39,
    # timm trained this one with its own image format.
    'vovnetv2-57': replace(VOVNETV2_39, depths=(1, 1, 4, 3), image=replace(SYMMETRIC, size=256)),
    'vovnetv2-99': replace(VOVNETV2_39, depths=(1, 3, 9, 3)),
}


class EffectiveSqueezeExcite(nn.Module):
    """Global mean, 1x1 that keeps the channels, hard sigmoid, times the input: (N, C, H, W) to the same shape.

    With ``inplace``, which :func:`mmcnn.fuse` sets, the input is overwritten unless a gradient needs it.
    """

    inplace = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        scale = self.gate(self.conv(channel_means(x)))
        return x.mul_(scale) if self.inplace and may_overwrite(x) else x * scale


class OneShotAggregation(nn.Module):
    """A sequence of 3x3 convolutions; the input and all their outputs concatenated once; 1x1 [eSE] [plus the input].

    Maps (N, C_in, H, W) to (N, C_out, H, W).

    Args:
        in_channels: C_in.
        inner: output channels of each of the 3x3 convolutions.
        out_channels: C_out.
        layers: number of 3x3 convolutions.
        shortcut: whether the input is added.
        squeeze: whether there is effective squeeze and excitation.
        **conv: ``norm_cfg`` and ``act_cfg`` of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        out_channels: int,
        layers: int,
        *,
        shortcut: bool,
        squeeze: bool,
        **conv: object,
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        inputs = [in_channels] + [inner] * (layers - 1)
        self.convs = nn.ModuleList(ConvNormAct(c, inner, 3, **conv) for c in inputs)
        self.aggregate = ConvNormAct(in_channels + layers * inner, out_channels, 1, **conv)
        self.squeeze = EffectiveSqueezeExcite(out_channels) if squeeze else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        maps = [x]
        for conv in self.convs:
            maps.append(conv(maps[-1]))
        out = self.squeeze(self.aggregate(concatenate(maps)))
        return plus_input(out, x, self.aggregate, self.squeeze) if self.shortcut else out


@register_backbone
class VoVNet(Backbone):
    """VoVNet and VoVNetV2; levels 1 to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        first, second, third = map(self.width, arch.stem)
        yield Stage('stem', second, 2, partial(vovnet_stem, self.in_channels, first, second, **conv))
        down, channels = partial(ConvNormAct, second, third, 3, stride=2, **conv), third
        rows = zip(arch.inner, arch.channels, arch.depths, strict=True)
        for level, (inner, out, depth) in enumerate(rows, start=2):
            inner, out, depth = self.width(inner), self.width(out), self.depth(depth)
            build = partial(vovnet_stage, down, channels, inner, out, depth, arch, **conv)
            yield Stage(f'stage{level}', out, 2**level, build)
            down, channels = partial(max_pool, 3, 2), out


def vovnet_stem(in_channels: int, hidden: int, out_channels: int, **conv: object) -> nn.Sequential:
    """Build two 3x3, the first of stride 2: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
    return nn.Sequential(
        ConvNormAct(in_channels, hidden, 3, stride=2, **conv), ConvNormAct(hidden, out_channels, 3, **conv)
    )


def vovnet_stage(
    down: Callable[[], nn.Module],
    in_channels: int,
    inner: int,
    out_channels: int,
    depth: int,
    arch: Arch,
    **conv: object,
) -> nn.Sequential:
    """Build ``down``, which halves the map and outputs ``in_channels``, and ``depth`` modules."""
    modules = []
    for i in range(depth):
        parts = dict(shortcut=arch.identity and i > 0, squeeze=arch.squeeze and i == depth - 1)
        channels = out_channels if i else in_channels
        modules.append(OneShotAggregation(channels, inner, out_channels, arch.layers, **parts, **conv))
    return nn.Sequential(down(), *modules)
