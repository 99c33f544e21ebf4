"""Inception v2, the network with batch normalisation (Ioffe & Szegedy, arXiv 1502.03167, Figure 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from torch import nn

from mmcnn.models.layers import Branches, ConvNormAct, max_pool, scale_rows
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import SYMMETRIC, ImageFormat, Row


class Widths(NamedTuple):
    """Outputs of a module's convolutions, in the order of the paper's table."""

    one: int  # 1x1
    reduce: int  # 1x1 before the 3x3
    three: int  # 3x3
    reduce_double: int  # 1x1 before the double 3x3
    double: int  # each 3x3 of the double one
    pool: int  # 1x1 behind the pool

    @property
    def out(self) -> int:
        """Outputs of the module."""
        return self.one + self.three + self.double + self.pool


class ReductionWidths(NamedTuple):
    """The same of a module of stride 2, which has no 1x1 branch and no 1x1 behind its pool."""

    reduce: int  # 1x1 before the 3x3
    three: int  # 3x3
    reduce_double: int  # 1x1 before the double 3x3
    double: int  # each 3x3 of the double one

    @property
    def out(self) -> int:
        """Outputs of the convolutions; the pool adds the inputs of the module."""
        return self.three + self.double


MODULE_3A = Widths(64, 64, 64, 64, 96, 32)
MODULE_3B = Widths(64, 64, 96, 64, 96, 64)
REDUCTION_3C = ReductionWidths(128, 160, 64, 96)
MODULES_4 = (
    Widths(224, 64, 96, 96, 128, 128),
    Widths(192, 96, 128, 96, 128, 128),
    Widths(160, 128, 160, 128, 160, 96),
    Widths(96, 128, 192, 160, 192, 96),
)
REDUCTION_4E = ReductionWidths(128, 192, 192, 256)
MODULES_5 = (Widths(352, 192, 320, 160, 224, 128), Widths(352, 192, 320, 192, 224, 128))


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the defaults are the paper's network."""

    stem: int = 64  # outputs of the first 7x7
    reduce: int = 64  # outputs of the 1x1 before the second convolution, the 3x3
    conv: int = 192  # outputs of that 3x3
    modules: tuple[tuple[Widths, ...], ...] = ((MODULE_3A, MODULE_3B), MODULES_4, MODULES_5)  # of strides 8, 16, 32
    reduction4: ReductionWidths = REDUCTION_3C  # opens stride 16
    reduction5: ReductionWidths = REDUCTION_4E  # opens stride 32
    last_pool: str = 'max'  # kind of the pool in the very last module; those of the others are 'avg'
    bias: bool = True  # a bias in the convolutions, BatchNorm beside it
    # The paper names no epsilon; 1e-3 is that of TensorFlow's Inception networks and of Keras.
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01))
    image: ImageFormat = SYMMETRIC  # nobody's weights are of this form; it is what the other Inception networks take


# Figure 5 of the paper: 11,204,936 trainable parameters with 1000 classes. The 7x7 is an ordinary convolution, and the
# pools of 4c and 4d have 96 outputs: the 128 of the figure do not sum to the 576 that it gives for both modules.
PAPER = Arch()

VARIANTS = {
    # The reference table's form, 11,133,064: 3b is a second 3a.
    'inceptionv2': replace(PAPER, modules=((MODULE_3A, MODULE_3A), MODULES_4, MODULES_5)),
    'inceptionv2-paper': PAPER,
}


class Inception(Branches):
    """1x1; 1x1, 3x3; 1x1, 3x3, 3x3; pool, 1x1, concatenated: (N, C, H, W) to (N, widths.out, H, W).

    The average does not count the padding, as TensorFlow's does not.
    """

    def __init__(self, in_channels: int, widths: Widths, pool: str, **conv: object) -> None:
        conv, w = partial(ConvNormAct, **conv), widths
        pools = dict(max=nn.MaxPool2d(3, 1, padding=1), avg=nn.AvgPool2d(3, 1, padding=1, count_include_pad=False))
        super().__init__(
            branch1x1=conv(in_channels, w.one, 1),
            branch3x3=nn.Sequential(conv(in_channels, w.reduce, 1), conv(w.reduce, w.three, 3)),
            branch3x3dbl=nn.Sequential(
                conv(in_channels, w.reduce_double, 1), conv(w.reduce_double, w.double, 3), conv(w.double, w.double, 3)
            ),
            branch_pool=nn.Sequential(pools[pool], conv(in_channels, w.pool, 1)),
        )


class Reduction(Branches):
    """1x1, 3x3/2; 1x1, 3x3, 3x3/2; max-pool/2, concatenated.

    (N, C, H, W) to (N, widths.three + widths.double + C, ceil(H/2), ceil(W/2)).
    """

    def __init__(self, in_channels: int, widths: ReductionWidths, **conv: object) -> None:
        conv, w = partial(ConvNormAct, padding='same', **conv), widths
        super().__init__(
            branch3x3=nn.Sequential(conv(in_channels, w.reduce, 1), conv(w.reduce, w.three, 3, stride=2)),
            branch3x3dbl=nn.Sequential(
                conv(in_channels, w.reduce_double, 1),
                conv(w.reduce_double, w.double, 3),
                conv(w.double, w.double, 3, stride=2),
            ),
            branch_pool=max_pool(3, 2),
        )


@register_backbone
class InceptionV2(Backbone):
    """BN-Inception; levels 1 (the 7x7) to 5. Arguments: :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act, bias=self.arch.bias or None)
        stem, reduce, channels = map(self.width, (arch.stem, arch.reduce, arch.conv))
        rows3, rows4, rows5 = (
            [Widths(*map(self.width, row)) for row in scale_rows(rows, self.deepen_factor)] for rows in arch.modules
        )
        reduction4 = ReductionWidths(*map(self.width, arch.reduction4))
        reduction5 = ReductionWidths(*map(self.width, arch.reduction5))
        first = partial(ConvNormAct, self.in_channels, stem, 7, stride=2, padding='same', **conv)
        yield Stage('stage1', stem, 2, first)
        yield Stage('pool2', stem, 4, partial(max_pool, 3, 2))
        yield Stage('stage2', channels, 4, partial(stage2, stem, reduce, channels, **conv))
        yield Stage('pool3', channels, 8, partial(max_pool, 3, 2))
        yield Stage('stage3', rows3[-1].out, 8, partial(inception_modules, channels, rows3, 'avg', **conv))
        channels = rows3[-1].out + reduction4.out
        yield Stage('reduction4', channels, 16, partial(Reduction, rows3[-1].out, reduction4, **conv))
        yield Stage('stage4', rows4[-1].out, 16, partial(inception_modules, channels, rows4, 'avg', **conv))
        channels = rows4[-1].out + reduction5.out
        yield Stage('reduction5', channels, 32, partial(Reduction, rows4[-1].out, reduction5, **conv))
        yield Stage('stage5', rows5[-1].out, 32, partial(inception_modules, channels, rows5, arch.last_pool, **conv))


def stage2(in_channels: int, reduce: int, out_channels: int, **conv: object) -> nn.Sequential:
    """1x1, 3x3: (N, C, H, W) to (N, C_out, H, W)."""
    return nn.Sequential(
        ConvNormAct(in_channels, reduce, 1, **conv),
        ConvNormAct(reduce, out_channels, 3, **conv),
    )


def inception_modules(in_channels: int, rows: Sequence[Widths], last_pool: str, **conv: object) -> nn.Sequential:
    """A module for each of ``rows``, the last with another pool: (N, C, H, W) to (N, C_out, H, W)."""
    inputs = [in_channels, *(widths.out for widths in rows[:-1])]
    pools = ['avg'] * (len(rows) - 1) + [last_pool]
    return nn.Sequential(*(Inception(*each, **conv) for each in zip(inputs, rows, pools, strict=True)))
