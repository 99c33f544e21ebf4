"""Inception v3 (Szegedy et al., arXiv 1512.00567), without its auxiliary classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from torch import nn

from mmcnn.models.layers import Branches, ConvNormAct, max_pool, scale_rows
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import SYMMETRIC, ImageFormat, Row, Top


class WidthsA(NamedTuple):
    """Outputs of the convolutions of :class:`InceptionA`."""

    one: int = 64  # 1x1
    reduce5: int = 48  # 1x1 before the 5x5
    five: int = 64  # 5x5
    reduce3: int = 64  # 1x1 before the double 3x3
    double: int = 96  # each 3x3 of the double one
    pool: int = 64  # 1x1 behind the pool

    @property
    def out(self) -> int:
        """Outputs of the module."""
        return self.one + self.five + self.double + self.pool


class WidthsB(NamedTuple):
    """Outputs of the convolutions of :class:`InceptionB`."""

    seven: int  # all but the last convolution of the 7x7 branches
    each: int = 192  # each branch

    @property
    def out(self) -> int:
        """Outputs of the module."""
        return 4 * self.each


class WidthsC(NamedTuple):
    """Outputs of the convolutions of :class:`InceptionC`."""

    one: int = 320  # 1x1
    three: int = 384  # 1x1 of the 3x3 branch, and each half of its fork
    reduce: int = 448  # 1x1 before the double 3x3
    double: int = 384  # its 3x3, and each half of its fork
    pool: int = 192  # 1x1 behind the pool

    @property
    def out(self) -> int:
        """Outputs of the module."""
        return self.one + 2 * self.three + 2 * self.double + self.pool


class ReductionWidthsA(NamedTuple):
    """Outputs of the convolutions of :class:`ReductionA`."""

    three: int = 384  # 3x3
    reduce: int = 64  # 1x1 before the double 3x3
    double: int = 96  # each 3x3 of the double one

    @property
    def out(self) -> int:
        """Outputs of the convolutions; the pool adds the inputs of the module."""
        return self.three + self.double


class ReductionWidthsB(NamedTuple):
    """Outputs of the convolutions of :class:`ReductionB`."""

    reduce: int = 192  # 1x1 before the 3x3
    three: int = 320  # 3x3
    seven: int = 192  # each convolution of the 7x7 branch

    @property
    def out(self) -> int:
        """Outputs of the convolutions; the pool adds the inputs of the module."""
        return self.three + self.seven


SYMMETRIC_299 = replace(SYMMETRIC, size=299)
MODULES_A = (WidthsA(pool=32), WidthsA(), WidthsA())
REDUCTION_A = ReductionWidthsA()
MODULES_B = (WidthsB(128), WidthsB(160), WidthsB(160), WidthsB(192))
REDUCTION_B = ReductionWidthsB()
MODULES_C = (WidthsC(), WidthsC())


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the defaults are the network of the paper's Table 1 as its authors published it."""

    stem: tuple[int, ...] = (32, 32, 64)  # outputs of the first three 3x3
    conv: tuple[int, ...] = (80, 192)  # outputs of the 1x1 and the 3x3 behind the first pool
    modules_a: tuple[WidthsA, ...] = MODULES_A  # stride 8, Figure 5
    reduction_a: ReductionWidthsA = REDUCTION_A  # opens stride 16
    modules_b: tuple[WidthsB, ...] = MODULES_B  # stride 16, Figure 6
    reduction_b: ReductionWidthsB = REDUCTION_B  # opens stride 32
    modules_c: tuple[WidthsC, ...] = MODULES_C  # stride 32, Figure 7
    padding: str = 'same'  # of the stem and the reductions; 'valid': the paper's, for its classifier
    count_padding: bool = False  # the average pools count the zeros around the map
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01, gamma=False))
    image: ImageFormat = SYMMETRIC_299
    as_classifier: dict = field(default_factory=lambda: dict(padding='valid'))


VARIANTS = {
    # Keras's form, BatchNorm without gamma: 23,817,352 trainable parameters with 1000 classes.
    'inceptionv3': Arch(),
    # torchvision's, with gamma: 23,834,568. Its weights want -1 to 1 as well: torchvision's own transform_input makes
    # that of ImageNet's normalisation.
    'inceptionv3-tv': Arch(count_padding=True, norm=dict(type='BN', eps=1e-3, momentum=0.1), top=Top(dropout=0.5)),
}


class InceptionA(Branches):
    """Figure 5: 1x1; 1x1, 5x5; 1x1, 3x3, 3x3; average, 1x1: (N, C, H, W) to (N, widths.out, H, W).

    (In the figure the 5x5 is two 3x3, too; the published network has a 5x5.)
    """

    def __init__(self, in_channels: int, widths: WidthsA, count_padding: bool, **conv: object) -> None:
        conv, w = partial(ConvNormAct, **conv), widths
        super().__init__(
            branch1x1=conv(in_channels, w.one, 1),
            branch5x5=nn.Sequential(conv(in_channels, w.reduce5, 1), conv(w.reduce5, w.five, 5)),
            branch3x3dbl=nn.Sequential(
                conv(in_channels, w.reduce3, 1), conv(w.reduce3, w.double, 3), conv(w.double, w.double, 3)
            ),
            branch_pool=nn.Sequential(average_pool(count_padding), conv(in_channels, w.pool, 1)),
        )


class InceptionB(Branches):
    """Figure 6: 1x1; 1x1, 1x7, 7x1; 1x1, 7x1, 1x7, 7x1, 1x7; average, 1x1: (N, C, H, W) to (N, widths.out, H, W)."""

    def __init__(self, in_channels: int, widths: WidthsB, count_padding: bool, **conv: object) -> None:
        conv, (seven, each) = partial(ConvNormAct, **conv), widths
        super().__init__(
            branch1x1=conv(in_channels, each, 1),
            branch7x7=nn.Sequential(conv(in_channels, seven, 1), conv(seven, seven, (1, 7)), conv(seven, each, (7, 1))),
            branch7x7dbl=nn.Sequential(
                conv(in_channels, seven, 1),
                conv(seven, seven, (7, 1)),
                conv(seven, seven, (1, 7)),
                conv(seven, seven, (7, 1)),
                conv(seven, each, (1, 7)),
            ),
            branch_pool=nn.Sequential(average_pool(count_padding), conv(in_channels, each, 1)),
        )


class InceptionC(Branches):
    """Figure 7: 1x1; 1x1, fork; 1x1, 3x3, fork; average, 1x1: (N, C, H, W) to (N, widths.out, H, W).

    A fork is a 1x3 and a 3x1 side by side.
    """

    def __init__(self, in_channels: int, widths: WidthsC, count_padding: bool, **conv: object) -> None:
        conv, w = partial(ConvNormAct, **conv), widths

        def fork(channels: int) -> Branches:
            return Branches(branch1x3=conv(channels, channels, (1, 3)), branch3x1=conv(channels, channels, (3, 1)))

        super().__init__(
            branch1x1=conv(in_channels, w.one, 1),
            branch3x3=nn.Sequential(conv(in_channels, w.three, 1), fork(w.three)),
            branch3x3dbl=nn.Sequential(conv(in_channels, w.reduce, 1), conv(w.reduce, w.double, 3), fork(w.double)),
            branch_pool=nn.Sequential(average_pool(count_padding), conv(in_channels, w.pool, 1)),
        )


class ReductionA(Branches):
    """3x3/2; 1x1, 3x3, 3x3/2; max-pool/2: (N, C, H, W) to (N, widths.out + C, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, widths: ReductionWidthsA, padding: str, **conv: object) -> None:
        conv, w = partial(ConvNormAct, **conv), widths
        super().__init__(
            branch3x3=conv(in_channels, w.three, 3, stride=2, padding=padding),
            branch3x3dbl=nn.Sequential(
                conv(in_channels, w.reduce, 1),
                conv(w.reduce, w.double, 3),
                conv(w.double, w.double, 3, stride=2, padding=padding),
            ),
            branch_pool=max_pool(3, 2, padding),
        )


class ReductionB(Branches):
    """1x1, 3x3/2; 1x1, 1x7, 7x1, 3x3/2; max-pool/2: (N, C, H, W) to (N, widths.out + C, ceil(H/2), ceil(W/2))."""

    def __init__(self, in_channels: int, widths: ReductionWidthsB, padding: str, **conv: object) -> None:
        conv, w = partial(ConvNormAct, **conv), widths
        super().__init__(
            branch3x3=nn.Sequential(
                conv(in_channels, w.reduce, 1), conv(w.reduce, w.three, 3, stride=2, padding=padding)
            ),
            branch7x7x3=nn.Sequential(
                conv(in_channels, w.seven, 1),
                conv(w.seven, w.seven, (1, 7)),
                conv(w.seven, w.seven, (7, 1)),
                conv(w.seven, w.seven, 3, stride=2, padding=padding),
            ),
            branch_pool=max_pool(3, 2, padding),
        )


@register_backbone
class InceptionV3(Backbone):
    """Inception v3; levels 1 (the first three 3x3) to 5. Arguments: :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        stem, convs = [self.width(c) for c in arch.stem], [self.width(c) for c in arch.conv]
        rows3, rows4, rows5 = (
            [kind(*map(self.width, row)) for row in scale_rows(rows, self.deepen_factor)]
            for kind, rows in ((WidthsA, arch.modules_a), (WidthsB, arch.modules_b), (WidthsC, arch.modules_c))
        )
        reduction4 = ReductionWidthsA(*map(self.width, arch.reduction_a))
        reduction5 = ReductionWidthsB(*map(self.width, arch.reduction_b))
        pool, block = partial(max_pool, 3, 2, arch.padding), dict(count_padding=arch.count_padding, **conv)
        yield Stage('stage1', stem[-1], 2, partial(stage1, self.in_channels, stem, arch.padding, **conv))
        yield Stage('pool2', stem[-1], 4, pool)
        yield Stage('stage2', convs[-1], 4, partial(stage2, stem[-1], convs, arch.padding, **conv))
        yield Stage('pool3', convs[-1], 8, pool)
        yield Stage('stage3', rows3[-1].out, 8, partial(inception_modules, InceptionA, convs[-1], rows3, **block))
        channels = rows3[-1].out + reduction4.out
        reduction = partial(ReductionA, rows3[-1].out, reduction4, arch.padding, **conv)
        yield Stage('reduction4', channels, 16, reduction)
        yield Stage('stage4', rows4[-1].out, 16, partial(inception_modules, InceptionB, channels, rows4, **block))
        channels = rows4[-1].out + reduction5.out
        reduction = partial(ReductionB, rows4[-1].out, reduction5, arch.padding, **conv)
        yield Stage('reduction5', channels, 32, reduction)
        yield Stage('stage5', rows5[-1].out, 32, partial(inception_modules, InceptionC, channels, rows5, **block))


def stage1(in_channels: int, widths: Sequence[int], padding: str, **conv: object) -> nn.Sequential:
    """3x3/2, 3x3, 3x3, the last always padded: (N, C, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
    return nn.Sequential(
        ConvNormAct(in_channels, widths[0], 3, stride=2, padding=padding, **conv),
        ConvNormAct(widths[0], widths[1], 3, padding=padding, **conv),
        ConvNormAct(widths[1], widths[2], 3, **conv),
    )


def stage2(in_channels: int, widths: Sequence[int], padding: str, **conv: object) -> nn.Sequential:
    """1x1, 3x3: (N, C, H, W) to (N, C_out, H, W)."""
    return nn.Sequential(
        ConvNormAct(in_channels, widths[0], 1, **conv),
        ConvNormAct(widths[0], widths[1], 3, padding=padding, **conv),
    )


def inception_modules(block: type[Branches], in_channels: int, rows: Sequence, **kwargs: object) -> nn.Sequential:
    """A ``block`` for each of ``rows``: (N, C, H, W) to (N, C_out, H, W)."""
    inputs = [in_channels, *(widths.out for widths in rows[:-1])]
    return nn.Sequential(*(block(c, widths, **kwargs) for c, widths in zip(inputs, rows, strict=True)))


def average_pool(count_padding: bool) -> nn.AvgPool2d:
    """3x3 of stride 1: (N, C, H, W) to the same shape."""
    return nn.AvgPool2d(3, 1, padding=1, count_include_pad=count_padding)
