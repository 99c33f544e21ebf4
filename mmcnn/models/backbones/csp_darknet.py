"""CSPDarknet: Darknet's YOLOv4 trunk and YOLOv5's Focus form.

YOLOv4: Bochkovskiy et al., arXiv 2004.10934; layer graph of the public yolov4.cfg. CSP: Wang et al., arXiv 1911.11929.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from mmcnn.models.layers import C3, SPP, ConvNormAct, DarknetBottleneck, Focus
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import UNIT, UNIT_256, ImageFormat, Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the Darknet form's table."""

    stem: int = 32  # channels of the first 3x3
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)  # outputs of the stages, strides 2 to 32
    depths: tuple[int, ...] = (1, 2, 8, 8, 4)  # residual blocks of each stage
    whole_first_stage: bool = True  # stage 1 keeps its full width on both paths, its blocks halve it inside
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-5, momentum=0.03))
    act: dict = field(default_factory=lambda: dict(type='mmcnn.Mish'))
    image: ImageFormat = UNIT_256


@dataclass(frozen=True, kw_only=True)
class FocusArch(Row):
    """A row of the Focus form's table."""

    stem: int = 64  # outputs of the 3x3 behind Focus, stride 2
    channels: tuple[int, ...] = (128, 256, 512, 1024)  # outputs of the stages, strides 4 to 32
    depths: tuple[int, ...] = (3, 6, 9, 3)  # bottlenecks of each C3
    bias: bool = False  # a bias in the convolutions, BatchNorm beside it
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.03))
    act: dict = field(default_factory=lambda: dict(type='SiLU'))
    image: ImageFormat = UNIT


# yolov4.cfg, layers 0 to 104: 26,617,184 trainable parameters.
VARIANTS = {'cspdarknet53': Arch()}

# The reference table's Focus form, with a bias and BatchNorm on every convolution: 26,599,872 trainable parameters.
FOCUS_VARIANTS = {'cspdarknet53-focus': FocusArch(bias=True)}


class CSPStage(nn.Module):
    """A cross-stage-partial Darknet stage: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    3x3 of stride 2; from it 1x1 ``short`` and 1x1 ``main``; ``depth`` bottlenecks and a 1x1 ``post`` on the main path;
    concatenated [post, short]; 1x1 ``final``. Parts are made in the order of Darknet's weight stream.

    Args:
        whole: both paths keep C_out and the bottlenecks halve it inside (YOLOv4's first stage); else both have half.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, whole: bool, **conv: object) -> None:
        super().__init__()
        path = out_channels if whole else out_channels // 2
        hidden = out_channels // 2
        self.down = ConvNormAct(in_channels, out_channels, 3, stride=2, **conv)
        self.short = ConvNormAct(out_channels, path, 1, **conv)
        self.main = ConvNormAct(out_channels, path, 1, **conv)
        self.blocks = nn.Sequential(*(DarknetBottleneck(path, hidden, **conv) for _ in range(depth)))
        self.post = ConvNormAct(path, path, 1, **conv)
        self.final = ConvNormAct(2 * path, out_channels, 1, **conv)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        main = self.post(self.blocks(self.main(x)))
        return self.final(torch.cat([main, self.short(x)], dim=1))


@register_backbone
class CSPDarknet(Backbone):
    """CSPDarknet53; levels 0 (the stem) to 5. Arguments: :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 1, partial(ConvNormAct, self.in_channels, channels, 3, **conv))
        for i, (out, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out, whole = self.width(out), arch.whole_first_stage and i == 1
            yield Stage(f'stage{i}', out, 2**i, partial(CSPStage, channels, out, self.depth(depth), whole, **conv))
            channels = out


@register_backbone
class CSPDarknetFocus(Backbone):
    """CSPDarknet with a Focus stem and SPP; levels 1 (the stem) to 5.

    Arguments: :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = FOCUS_VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch = self.arch
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=arch.act, bias=arch.bias or None)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 2, partial(focus_stem, self.in_channels, channels, **conv))
        for i, (out, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out = self.width(out)
            last = i == len(arch.channels)
            build = partial(focus_stage, channels, out, self.depth(depth), last, **conv)
            yield Stage(f'stage{i}', out, 2 ** (i + 1), build)
            channels = out


def focus_stem(in_channels: int, out_channels: int, **conv: object) -> nn.Sequential:
    """Focus, then 3x3: (N, C, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
    return nn.Sequential(Focus(), ConvNormAct(4 * in_channels, out_channels, 3, **conv))


def focus_stage(in_channels: int, out_channels: int, depth: int, last: bool, **conv: object) -> nn.Sequential:
    """3x3 of stride 2, then C3; the last stage has SPP between them and no shortcuts."""
    pool = [SPP(out_channels, out_channels, **conv)] if last else []
    down = ConvNormAct(in_channels, out_channels, 3, stride=2, **conv)
    return nn.Sequential(down, *pool, C3(out_channels, out_channels, depth, shortcut=not last, **conv))
