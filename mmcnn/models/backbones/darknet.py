"""Darknet-53, the backbone of YOLOv3 (Redmon & Farhadi, arXiv 1804.02767, Table 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from mmcnn.image_format import IMAGENET_256, UNIT_256, ImageFormat
from mmcnn.models.layers import ConvNormAct, DarknetBottleneck
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 32  # output channels of the first 3x3
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)  # output channels of the stages, strides 2 to 32
    depths: tuple[int, ...] = (1, 2, 8, 8, 4)  # number of residual blocks of each stage
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-5, momentum=0.03))
    act: dict = field(default_factory=lambda: dict(type='LeakyReLU', negative_slope=0.1, inplace=True))
    image: ImageFormat = UNIT_256


# Table 1 of the paper: 40,584,928 trainable parameters without the classifier.
DARKNET53 = Arch()
VARIANTS = {
    'darknet53': DARKNET53,
    # timm's darknet53: another slope and image format. Each loads the other's weights but gives wrong results.
    'darknet53-timm': replace(
        DARKNET53,
        act=dict(type='LeakyReLU', negative_slope=0.01, inplace=True),
        norm=dict(type='BN', eps=1e-5, momentum=0.1),
        image=IMAGENET_256,
    ),
}


class DarknetStage(nn.Sequential):
    """3x3 of stride 2, then ``depth`` bottlenecks: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, out_channels: int, depth: int, **conv: object) -> None:
        blocks = [DarknetBottleneck(out_channels, out_channels // 2, **conv) for _ in range(depth)]
        super().__init__(ConvNormAct(in_channels, out_channels, 3, stride=2, **conv), *blocks)


@register_backbone
class Darknet(Backbone):
    """Darknet-53; levels 0 (the stem) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels = self.width(self.arch.stem)
        yield Stage('stem', channels, 1, partial(ConvNormAct, self.in_channels, channels, 3, **conv))
        for i, (out, depth) in enumerate(zip(self.arch.channels, self.arch.depths, strict=True), start=1):
            out = self.width(out)
            yield Stage(f'stage{i}', out, 2**i, partial(DarknetStage, channels, out, self.depth(depth), **conv))
            channels = out
