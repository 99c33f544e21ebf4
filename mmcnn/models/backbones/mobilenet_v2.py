"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al., arXiv 1801.04381)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from mmcnn.image_format import IMAGENET, SYMMETRIC, ImageFormat
from mmcnn.models.layers import ConvNormAct, InvertedResidual
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the tuples are the columns t, c, n and s of the paper's Table 2."""

    stem: int = 32  # output channels of the first 3x3, stride 2
    expansions: tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)  # hidden channels of a block per input channel
    channels: tuple[int, ...] = (16, 24, 32, 64, 96, 160, 320)  # output channels of each group of blocks
    depths: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)  # number of blocks of each group
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)  # stride of each group's first block
    padding: str | None = 'same'  # padding of the 3x3, see ConvNormAct
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.001))
    act: dict = field(default_factory=lambda: dict(type='ReLU6', inplace=True))
    image: ImageFormat = SYMMETRIC


# Table 2 of the paper, in the form of keras.applications.
V2 = Arch(top=Top(conv=1280))

VARIANTS = {
    'mobilenetv2': V2,
    # Width multipliers, rounded by make_divisible. The last convolution is widened but never narrowed (section 6.1).
    'mobilenetv2-035': replace(V2, stem=16, channels=(8, 8, 16, 24, 32, 56, 112)),
    'mobilenetv2-050': replace(V2, stem=16, channels=(8, 16, 16, 32, 48, 80, 160)),
    'mobilenetv2-075': replace(V2, stem=24, channels=(16, 24, 24, 48, 72, 120, 240)),
    'mobilenetv2-130': replace(V2, stem=40, channels=(24, 32, 40, 80, 128, 208, 416), top=Top(conv=1664)),
    'mobilenetv2-140': replace(V2, stem=48, channels=(24, 32, 48, 88, 136, 224, 448), top=Top(conv=1792)),
    # torchvision's form.
    'mobilenetv2-tv': replace(
        V2,
        padding=None,
        norm=dict(type='BN', eps=1e-5, momentum=0.1),
        image=IMAGENET,
        top=Top(conv=1280, dropout=0.2),
    ),
}


@register_backbone
class MobileNetV2(Backbone):
    """MobileNetV2; levels 1 (the stem and block 1) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.

    Every block is a stage, ``block1`` to ``block17``; level 5 is the map with 320 channels; the convolution to 1280
    channels belongs to the classifier.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(padding=arch.padding, norm_cfg=self.norm_cfg, act_cfg=arch.act)
        channels, stride, block = self.width(arch.stem), 2, 1
        yield Stage('stem', channels, stride, partial(ConvNormAct, self.in_channels, channels, 3, 2, **conv))
        columns = zip(arch.expansions, arch.channels, arch.depths, arch.strides, strict=True)
        for expansion, out, depth, first_step in columns:
            out = self.width(out)
            for i in range(self.depth(depth)):
                step = first_step if i == 0 else 1
                stride *= step
                hidden = expansion * channels if expansion > 1 else 0
                build = partial(InvertedResidual, channels, hidden, out, 3, step, **conv)
                yield Stage(f'block{block}', out, stride, build)
                channels, block = out, block + 1
