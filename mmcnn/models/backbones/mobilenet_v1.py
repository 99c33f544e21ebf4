"""MobileNet: depthwise separable convolutions (Howard et al., arXiv 1704.04861)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor, nn

from mmcnn.image_format import SYMMETRIC, ImageFormat
from mmcnn.models.layers import ConvNormAct
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 32  # output channels of the first 3x3, stride 2
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)  # output channels of the groups of blocks, strides 2 to 32
    depths: tuple[int, ...] = (1, 2, 2, 6, 2)  # number of blocks of each group
    padding: str | None = 'same'  # padding of the 3x3, see ConvNormAct
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01))
    act: dict = field(default_factory=lambda: dict(type='ReLU6', inplace=True))
    image: ImageFormat = SYMMETRIC


# Table 1 of the paper, in the form of keras.applications.
MOBILENET = Arch(top=Top(dropout=1e-3))

VARIANTS = {
    'mobilenet': MOBILENET,
    # Table 6: the width multipliers.
    'mobilenet-025': replace(MOBILENET, stem=8, channels=(16, 32, 64, 128, 256)),
    'mobilenet-050': replace(MOBILENET, stem=16, channels=(32, 64, 128, 256, 512)),
    'mobilenet-075': replace(MOBILENET, stem=24, channels=(48, 96, 192, 384, 768)),
}


class SeparableBlock(nn.Module):
    """Depthwise 3x3, BN, act, 1x1, BN, act: (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, padding: str | None, **conv: object) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(in_channels, in_channels, 3, stride, groups=in_channels, padding=padding, **conv)
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride))."""
        return self.pointwise(self.depthwise(x))


@register_backbone
class MobileNetV1(Backbone):
    """MobileNet; levels 1 (the stem and block 1) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.

    Every block is a stage, ``block1`` to ``block13``.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(padding=arch.padding, norm_cfg=self.norm_cfg, act_cfg=arch.act)
        channels, stride, block = self.width(arch.stem), 2, 1
        yield Stage('stem', channels, stride, partial(ConvNormAct, self.in_channels, channels, 3, 2, **conv))
        for group, (out, depth) in enumerate(zip(arch.channels, arch.depths, strict=True), start=1):
            out = self.width(out)
            for i in range(self.depth(depth)):
                step = 2 if i == 0 and group > 1 else 1
                stride *= step
                yield Stage(f'block{block}', out, stride, partial(SeparableBlock, channels, out, step, **conv))
                channels, block = out, block + 1
