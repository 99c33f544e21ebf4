"""CSPDarknet: the backbone of Darknet's YOLOv4 and the two forms of YOLOv5's backbone.

YOLOv4: Bochkovskiy et al., arXiv 2004.10934; layer graph of the public yolov4.cfg. CSP: Wang et al., arXiv 1911.11929.
YOLOv5 has no paper; its backbones are known from their published layer tables and parameter counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from mmcnn.image_format import IMAGENET_256, UNIT, UNIT_256, ImageFormat
from mmcnn.models.layers import C3, SPP, ConvNormAct, DarknetBottleneck, Focus, concatenate, csp_transitions
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table of Darknet's form."""

    stem: int = 32  # output channels of the first 3x3
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)  # output channels of the stages, strides 2 to 32
    depths: tuple[int, ...] = (1, 2, 8, 8, 4)  # number of residual blocks of each stage
    whole_first_stage: bool = True  # stage 1 keeps its full width on both paths and its blocks halve it internally
    fusion: str = 'both'  # where the transitions are, Figure 3 of CSPNet: 'both', 'first' or 'last'
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-5, momentum=0.03))
    act: dict = field(default_factory=lambda: dict(type='mmcnn.Mish'))
    image: ImageFormat = UNIT_256


@dataclass(frozen=True, kw_only=True)
class YOLOv5Arch(Row):
    """A row of the tables of YOLOv5's two forms."""

    stem: int = 64  # output channels of the stem, stride 2
    channels: tuple[int, ...] = (128, 256, 512, 1024)  # output channels of the stages, strides 4 to 32
    depths: tuple[int, ...]  # number of bottlenecks of each C3
    bias: bool = False  # whether the convolutions have a bias in addition to BatchNorm
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.03))
    act: dict = field(default_factory=lambda: dict(type='SiLU'))
    image: ImageFormat = UNIT


# yolov4.cfg, layers 0 to 104: 26,617,184 trainable parameters.
DARKNET = Arch()
VARIANTS = {
    'cspdarknet53': DARKNET,
    # timm's cspdarknet53: the graph with another activation. Each loads the other's weights but gives wrong results.
    'cspdarknet53-timm': replace(
        DARKNET,
        act=dict(type='LeakyReLU', negative_slope=0.01, inplace=True),
        norm=dict(type='BN', eps=1e-5, momentum=0.1),
        image=IMAGENET_256,
    ),
}

# Widths of YOLOv5's sizes: 1/2, 3/4, 1 and 5/4 of those of l, rounded up to multiples of 8 (n: 1/4).
N = dict(stem=16, channels=(32, 64, 128, 256))
S = dict(stem=32, channels=(64, 128, 256, 512))
M = dict(stem=48, channels=(96, 192, 384, 768))
L = dict(stem=64, channels=(128, 256, 512, 1024))
X = dict(stem=80, channels=(160, 320, 640, 1280))

FOCUS_VARIANTS = {
    # The reference table's Focus form, with a bias and BatchNorm on every convolution: 26,599,872 trainable parameters.
    'cspdarknet53-focus': YOLOv5Arch(depths=(3, 6, 9, 3), bias=True),
    # YOLOv5 v4.0 and v5.0, layers 0 to 9: 4,212,672, 12,352,992, 27,075,968 and 50,301,600 trainable parameters.
    'cspdarknet-focus-s': YOLOv5Arch(**S, depths=(1, 3, 3, 1)),
    'cspdarknet-focus-m': YOLOv5Arch(**M, depths=(2, 6, 6, 2)),
    'cspdarknet-focus-l': YOLOv5Arch(**L, depths=(3, 9, 9, 3)),
    'cspdarknet-focus-x': YOLOv5Arch(**X, depths=(4, 12, 12, 4)),
}

# YOLOv5 v6.0 to v7.0, layers 0 to 9: 1,046,368, 4,171,456, 12,167,904, 26,582,912 and 49,275,040 trainable parameters.
V6_VARIANTS = {
    'cspdarknet-n': YOLOv5Arch(**N, depths=(1, 2, 3, 1)),
    'cspdarknet-s': YOLOv5Arch(**S, depths=(1, 2, 3, 1)),
    'cspdarknet-m': YOLOv5Arch(**M, depths=(2, 4, 6, 2)),
    'cspdarknet-l': YOLOv5Arch(**L, depths=(3, 6, 9, 3)),
    'cspdarknet-x': YOLOv5Arch(**X, depths=(4, 8, 12, 4)),
}


class CSPStage(nn.Module):
    """A cross-stage-partial Darknet stage: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    A 3x3 of stride 2; from its output a 1x1 ``short`` and a 1x1 ``main``; ``depth`` bottlenecks and a 1x1 ``post`` on
    the main path; concatenation [post, short]; a 1x1 ``final``. Submodules are created in the order of Darknet's weight
    file.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        depth: number of bottlenecks.
        whole: both paths keep C_out and the bottlenecks halve it internally (YOLOv4's first stage); otherwise each path
            has half.
        fusion: which of ``post`` and ``final`` exist, see :func:`~mmcnn.models.layers.csp_transitions`.
        **conv: ``norm_cfg`` and ``act_cfg`` of every convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depth: int, whole: bool, fusion: str, **conv: object
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        path = out_channels if whole else hidden
        short = hidden if fusion == 'last' else path
        self.down = ConvNormAct(in_channels, out_channels, 3, stride=2, **conv)
        self.short = ConvNormAct(out_channels, short, 1, **conv)
        self.main = ConvNormAct(out_channels, path, 1, **conv)
        self.blocks = nn.Sequential(*(DarknetBottleneck(path, hidden, **conv) for _ in range(depth)))
        self.post, self.final = csp_transitions(fusion, path, short, out_channels, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
        x = self.down(x)
        main = self.post(self.blocks(self.main(x)))
        return self.final(concatenate([main, self.short(x)]))


@register_backbone
class CSPDarknet(Backbone):
    """CSPDarknet53; levels 0 (the stem) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 1, partial(ConvNormAct, self.in_channels, channels, 3, **conv))
        for i, (out, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out, whole = self.width(out), arch.whole_first_stage and i == 1
            build = partial(CSPStage, channels, out, self.depth(depth), whole, arch.fusion, **conv)
            yield Stage(f'stage{i}', out, 2**i, build)
            channels = out


class YOLOv5Trunk(Backbone):
    """The common part of YOLOv5's two forms; a form defines its stem and its stages."""

    make_stem: ClassVar[Callable[..., nn.Module]]
    make_stage: ClassVar[Callable[..., nn.Module]]

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=arch.act, bias=arch.bias or None)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 2, partial(self.make_stem, self.in_channels, channels, **conv))
        for i, (out, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out = self.width(out)
            last = i == len(arch.channels)
            build = partial(self.make_stage, channels, out, self.depth(depth), last, **conv)
            yield Stage(f'stage{i}', out, 2 ** (i + 1), build)
            channels = out


@register_backbone
class CSPDarknetFocus(YOLOv5Trunk):
    """CSPDarknet with a Focus stem and SPP before the last C3 (YOLOv5 up to v5.0); levels 1 (the stem) to 5.

    Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = FOCUS_VARIANTS

    @staticmethod
    def make_stem(in_channels: int, out_channels: int, **conv: object) -> nn.Sequential:
        """Build Focus and a 3x3: (N, C, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
        return nn.Sequential(Focus(), ConvNormAct(4 * in_channels, out_channels, 3, **conv))

    @staticmethod
    def make_stage(in_channels: int, out_channels: int, depth: int, last: bool, **conv: object) -> nn.Sequential:
        """Build a 3x3 of stride 2 and C3; the last stage has SPP between them and no shortcuts."""
        pool = [SPP(out_channels, out_channels, **conv)] if last else []
        down = ConvNormAct(in_channels, out_channels, 3, stride=2, **conv)
        return nn.Sequential(down, *pool, C3(out_channels, out_channels, depth, shortcut=not last, **conv))


@register_backbone
class CSPDarknetV6(YOLOv5Trunk):
    """CSPDarknet with a 6x6 stem and SPP behind the last C3 (YOLOv5 from v6.0 on); levels 1 (the stem) to 5.

    Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = V6_VARIANTS

    @staticmethod
    def make_stem(in_channels: int, out_channels: int, **conv: object) -> ConvNormAct:
        """Build a 6x6 of stride 2, padded by 2 pixels; at odd sizes by one more at the right and at the bottom."""
        return ConvNormAct(in_channels, out_channels, 6, stride=2, padding='same', **conv)

    @staticmethod
    def make_stage(in_channels: int, out_channels: int, depth: int, last: bool, **conv: object) -> nn.Sequential:
        """Build a 3x3 of stride 2 and C3; the last stage has SPP behind it, the same function as YOLOv5's SPPF."""
        pool = [SPP(out_channels, out_channels, **conv)] if last else []
        down = ConvNormAct(in_channels, out_channels, 3, stride=2, **conv)
        return nn.Sequential(down, C3(out_channels, out_channels, depth, **conv), *pool)
