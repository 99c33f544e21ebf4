"""EfficientNet: one network found by search, scaled in width, depth and image size (Tan & Le, arXiv 1905.11946)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from mmcnn.image_format import IMAGENET
from mmcnn.models.layers import ConvNormAct, InvertedResidual, make_divisible
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the tuples are stages 2 to 8 of the paper's Table 1, before the multipliers."""

    width_multiplier: float = 1.0  # multiplies all channels, rounded by make_divisible
    depth_multiplier: float = 1.0  # multiplies the number of blocks of each stage, rounded up
    stem: int = 32  # output channels of the first 3x3, stride 2
    expansions: tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)  # hidden channels of a block per input channel
    channels: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)  # output channels of each stage
    depths: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)  # number of blocks of each stage
    kernels: tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)  # kernel sizes of the depthwise convolutions
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)  # stride of each stage's first block
    drop_path: float = 0.2  # probability of dropping a block in training; rises from 0 at the first block
    padding: str | None = 'same'  # of the depthwise convolutions and the stem, see ConvNormAct
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01))
    act: dict = field(default_factory=lambda: dict(type='SiLU', inplace=True))


def compound(width: float, depth: float, size: int, conv: int, dropout: float) -> Arch:
    """Return a row scaled by the paper's rule; ``conv`` is B0's 1280 scaled by the width multiplier."""
    image, top = replace(IMAGENET, size=size), Top(conv=conv, dropout=dropout)
    return Arch(width_multiplier=width, depth_multiplier=depth, image=image, top=top)


# B0 is the paper's Table 1; the others use its authors' published multipliers. This is the form of keras.applications.
# Keras counts 7 more values in each (mean, variance and count of its input normalisation, which is done in
# preprocessing here).
KERAS = {
    'efficientnet-b0': compound(width=1.0, depth=1.0, size=224, conv=1280, dropout=0.2),
    'efficientnet-b1': compound(width=1.0, depth=1.1, size=240, conv=1280, dropout=0.2),
    'efficientnet-b2': compound(width=1.1, depth=1.2, size=260, conv=1408, dropout=0.3),
    'efficientnet-b3': compound(width=1.2, depth=1.4, size=300, conv=1536, dropout=0.3),
    'efficientnet-b4': compound(width=1.4, depth=1.8, size=380, conv=1792, dropout=0.4),
    'efficientnet-b5': compound(width=1.6, depth=2.2, size=456, conv=2048, dropout=0.4),
    'efficientnet-b6': compound(width=1.8, depth=2.6, size=528, conv=2304, dropout=0.5),
    'efficientnet-b7': compound(width=2.0, depth=3.1, size=600, conv=2560, dropout=0.5),
}
# torchvision's form: padding on both sides; PyTorch's own normalisation up to B4; B2 is tested at 288 pixels.
PYTORCH = dict(type='BN', eps=1e-5, momentum=0.1)
TORCHVISION = {
    **{f'efficientnet-b{i}-tv': replace(KERAS[f'efficientnet-b{i}'], padding=None, norm=PYTORCH) for i in (0, 1, 3, 4)},
    **{f'efficientnet-b{i}-tv': replace(KERAS[f'efficientnet-b{i}'], padding=None) for i in (5, 6, 7)},
    'efficientnet-b2-tv': replace(
        KERAS['efficientnet-b2'], padding=None, norm=PYTORCH, image=replace(IMAGENET, size=288)
    ),
}
VARIANTS = KERAS | TORCHVISION


@register_backbone
class EfficientNet(Backbone):
    """EfficientNet; levels 1 (stem and stage 1) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.

    Level 5 is the map of stage 7 (320 channels in B0); the 1x1 convolution behind it belongs to the classifier.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(padding=arch.padding, norm_cfg=self.norm_cfg, act_cfg=arch.act)
        channels, stride = self._scaled(arch.stem), 2
        yield Stage('stem', channels, stride, partial(ConvNormAct, self.in_channels, channels, 3, 2, **conv))

        depths = [self.depth(math.ceil(arch.depth_multiplier * depth)) for depth in arch.depths]
        rates = [arch.drop_path * block / sum(depths) for block in range(sum(depths))]
        columns = zip(arch.expansions, arch.channels, depths, arch.kernels, arch.strides, strict=True)
        for i, (expansion, out, depth, kernel, step) in enumerate(columns, start=1):
            out, stride = self._scaled(out), stride * step
            stage_rates, rates = rates[:depth], rates[depth:]
            build = partial(efficient_stage, channels, out, expansion, kernel, step, stage_rates, **conv)
            yield Stage(f'stage{i}', out, stride, build)
            channels = out

    def _scaled(self, channels: int) -> int:
        return self.width(make_divisible(self.arch.width_multiplier * channels))


def efficient_stage(
    in_channels: int,
    out_channels: int,
    expansion: int,
    kernel_size: int,
    stride: int,
    rates: list[float],
    *,
    act_cfg: dict,
    **conv: object,
) -> nn.Sequential:
    """Build an inverted residual for each drop-path rate; the first has the stride and changes the channels.

    Squeeze-excite reduces to a quarter of the block's input channels, not of its hidden channels.
    Maps (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride)).
    """
    blocks = []
    for rate in rates:
        hidden = expansion * in_channels if expansion > 1 else 0
        excite = dict(squeezed=max(1, in_channels // 4), act_cfg=act_cfg, gate_cfg=dict(type='Sigmoid'))
        blocks.append(
            InvertedResidual(
                in_channels, hidden, out_channels, kernel_size, stride,
                excite=excite, drop_path=rate, act_cfg=act_cfg, **conv,
            )
        )  # fmt: skip
        in_channels, stride = out_channels, 1
    return nn.Sequential(*blocks)
