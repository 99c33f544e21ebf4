"""MobileNetV3: inverted residuals found by search, squeeze-excite and h-swish (Howard et al., arXiv 1905.02244)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from mmcnn.image_format import IMAGENET, SYMMETRIC, ImageFormat
from mmcnn.models.layers import ConvNormAct, InvertedResidual, make_divisible
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; consecutive blocks that differ only in their hidden channels form a group."""

    stem: int = 16  # output channels of the first 3x3, stride 2
    channels: tuple[int, ...]  # output channels of the group's blocks, "#out" in the paper
    hidden: tuple[tuple[int, ...], ...]  # "exp size" of each block of the group; 0: no first 1x1, the input's channels
    kernels: tuple[int, ...]  # kernel sizes of the depthwise convolutions
    strides: tuple[int, ...]  # stride of the group's first block
    excite: tuple[bool, ...]  # "SE": squeeze-excite, reducing to a quarter of the hidden channels
    acts: tuple[str, ...]  # "NL": the activation
    padding: str | None = 'same'  # of the depthwise convolutions and the stem, see ConvNormAct
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.001))
    act: dict = field(default_factory=lambda: dict(type='HSwish', inplace=True))  # activation of the stem and the top
    image: ImageFormat = SYMMETRIC


# Table 2 of the paper, in the form of keras.applications.
SMALL = Arch(
    channels=(16, 24, 40, 48, 96),
    hidden=((0,), (72, 88), (96, 240, 240), (120, 144), (288, 576, 576)),
    kernels=(3, 3, 5, 5, 5),
    strides=(2, 2, 2, 1, 2),
    excite=(True, False, True, True, True),
    acts=('ReLU', 'ReLU', 'HSwish', 'HSwish', 'HSwish'),
    top=Top(conv=576, hidden=(1024,), dropout=0.2),
)
# Table 1 of the paper, in the form of keras.applications.
LARGE = Arch(
    channels=(16, 24, 40, 80, 112, 160),
    hidden=((0,), (64, 72), (72, 120, 120), (240, 200, 184, 184), (480, 672), (672, 960, 960)),
    kernels=(3, 3, 5, 3, 3, 5),
    strides=(1, 2, 2, 2, 1, 2),
    excite=(False, False, True, False, True, True),
    acts=('ReLU', 'ReLU', 'ReLU', 'HSwish', 'HSwish', 'HSwish'),
    top=Top(conv=960, hidden=(1280,), dropout=0.2),
)
# torchvision's form: padding on both sides, other BatchNorm settings and image format.
TORCHVISION = dict(padding=None, norm=dict(type='BN', eps=1e-3, momentum=0.01), image=IMAGENET)

VARIANTS = {
    'mobilenetv3-small': SMALL,
    'mobilenetv3-large': LARGE,
    # Width multiplier 0.75. The hidden channels keep their ratio to the rounded input channels, as in Keras; the stem
    # and the hidden layer of the top are not scaled.
    'mobilenetv3-small-075': replace(
        SMALL,
        channels=(16, 24, 32, 40, 72),
        hidden=((0,), (72, 88), (96, 192, 192), (96, 120), (240, 432, 432)),
        top=Top(conv=432, hidden=(1024,), dropout=0.2),
    ),
    'mobilenetv3-large-075': replace(
        LARGE,
        channels=(16, 24, 32, 64, 88, 120),
        hidden=((0,), (64, 72), (72, 96, 96), (192, 160, 144, 144), (384, 528), (528, 720, 720)),
        top=Top(conv=720, hidden=(1280,), dropout=0.2),
    ),
    'mobilenetv3-small-tv': replace(SMALL, **TORCHVISION),
    'mobilenetv3-large-tv': replace(LARGE, **TORCHVISION),
}


@register_backbone
class MobileNetV3(Backbone):
    """MobileNetV3; levels 1 (the stem, and block 1 of Large) to 5.

    Every block is a stage, ``block1`` to ``block11`` (Small) or ``block15`` (Large); level 5 is the map of the last
    block; the 1x1 convolution behind it belongs to the classifier. A ``deepen_factor`` above 1 repeats the last block
    of a group.

    Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        conv = dict(padding=arch.padding, norm_cfg=self.norm_cfg)
        channels, stride, block = self.width(arch.stem), 2, 1
        stem = partial(ConvNormAct, self.in_channels, channels, 3, 2, act_cfg=arch.act, **conv)
        yield Stage('stem', channels, stride, stem)
        groups = zip(arch.channels, arch.hidden, arch.kernels, arch.strides, arch.excite, arch.acts, strict=True)
        for out, sizes, kernel, first_step, excite, act in groups:
            out, act = self.width(out), dict(type=act, inplace=True)
            for i in range(self.depth(len(sizes))):
                step, hidden = (first_step if i == 0 else 1), self.width(sizes[min(i, len(sizes) - 1)])
                stride *= step
                build = partial(
                    InvertedResidual, channels, hidden, out, kernel, step,
                    excite=squeeze(hidden or channels) if excite else None, act_cfg=act, **conv,
                )  # fmt: skip
                yield Stage(f'block{block}', out, stride, build)
                channels, block = out, block + 1


def squeeze(hidden: int) -> dict:
    """Return the arguments of SqueezeExcite: reduction to a quarter, ReLU, expansion, h-sigmoid (section 5.3)."""
    return dict(
        squeezed=make_divisible(hidden / 4),
        act_cfg=dict(type='ReLU', inplace=True),
        gate_cfg=dict(type='mmcnn.Hardsigmoid'),
    )
