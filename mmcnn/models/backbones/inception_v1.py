"""Inception v1, GoogLeNet (Szegedy et al., arXiv 1409.4842), without its auxiliary classifiers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from torch import nn

from mmcnn.models.layers import Branches, ConvNormAct, max_pool, scale_rows
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import CAFFE, SYMMETRIC, ImageFormat, Row, Top


class Widths(NamedTuple):
    """Outputs of a module's convolutions, in the order of the paper's Table 1."""

    one: int  # 1x1
    reduce3: int  # 1x1 before the 3x3
    three: int  # 3x3
    reduce5: int  # 1x1 before the 5x5
    five: int  # 5x5
    pool: int  # 1x1 behind the max-pool

    @property
    def out(self) -> int:
        """Outputs of the module."""
        return self.one + self.three + self.five + self.pool


MODULE_3A = Widths(64, 96, 128, 16, 32, 32)
MODULE_3B = Widths(128, 128, 192, 32, 96, 64)
MODULES_4 = (
    Widths(192, 96, 208, 16, 48, 64),
    Widths(160, 112, 224, 24, 64, 64),
    Widths(128, 128, 256, 24, 64, 64),
    Widths(112, 144, 288, 32, 64, 64),
    Widths(256, 160, 320, 32, 128, 128),
)
MODULES_5 = (Widths(256, 160, 320, 32, 128, 128), Widths(384, 192, 384, 48, 128, 128))


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the defaults are the paper's Table 1 and Figure 3."""

    stem: int = 64  # outputs of the first 7x7
    reduce: int = 64  # outputs of the 1x1 before the second convolution, the 3x3; 0: there is none
    conv: int = 192  # outputs of that 3x3
    modules: tuple[tuple[Widths, ...], ...] = ((MODULE_3A, MODULE_3B), MODULES_4, MODULES_5)  # of strides 8, 16, 32
    pools: tuple[int, ...] = (3, 3, 3)  # kernels of the max-pools that open those stages
    five: int = 5  # kernel of the modules' third branch
    local_norm: bool = True  # local response normalisation behind the first pool and before the second
    norm: dict | None = None  # the network is older than batch normalisation
    image: ImageFormat = CAFFE
    top: Top | None = field(default_factory=lambda: Top(dropout=0.4))


# Table 1 of the paper: 6,998,552 parameters with 1000 classes.
PAPER = Arch()

VARIANTS = {
    # The reference table's form, 7,000,476: no 1x1 in the stem, 196 outputs of 3b's 3x3, no local normalisation.
    'inceptionv1': replace(
        PAPER,
        reduce=0,
        modules=((MODULE_3A, MODULE_3B._replace(three=196)), MODULES_4, MODULES_5),
        local_norm=False,
    ),
    'inceptionv1-paper': PAPER,
    # torchvision's googlenet, 6,624,904 trainable: BatchNorm, a 3x3 in place of the 5x5, a 2x2 pool. Its weights are
    # those of TensorFlow and want -1 to 1: torchvision's own transform_input makes that of ImageNet's normalisation.
    'inceptionv1-tv': replace(
        PAPER,
        pools=(3, 3, 2),
        five=3,
        local_norm=False,
        norm=dict(type='BN', eps=1e-3, momentum=0.1),
        image=SYMMETRIC,
        top=Top(dropout=0.2),
    ),
}


class Inception(Branches):
    """Figure 2(b): 1x1; 1x1, 3x3; 1x1, 5x5; max-pool, 1x1: (N, C, H, W) to (N, widths.out, H, W)."""

    def __init__(self, in_channels: int, widths: Widths, five: int, **conv: object) -> None:
        conv = partial(ConvNormAct, **conv)
        super().__init__(
            branch1x1=conv(in_channels, widths.one, 1),
            branch3x3=nn.Sequential(conv(in_channels, widths.reduce3, 1), conv(widths.reduce3, widths.three, 3)),
            branch5x5=nn.Sequential(conv(in_channels, widths.reduce5, 1), conv(widths.reduce5, widths.five, five)),
            branch_pool=nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(in_channels, widths.pool, 1)),
        )


@register_backbone
class InceptionV1(Backbone):
    """GoogLeNet; levels 1 (the 7x7) to 5. Arguments: :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        stem, reduce, channels = map(self.width, (arch.stem, arch.reduce, arch.conv))
        yield Stage('stage1', stem, 2, partial(ConvNormAct, self.in_channels, stem, 7, stride=2, **conv))
        yield Stage('pool2', stem, 4, partial(max_pool, 3, 2))
        yield Stage('stage2', channels, 4, partial(stage2, stem, reduce, channels, arch.local_norm, **conv))
        for i, (rows, pool) in enumerate(zip(arch.modules, arch.pools, strict=True), start=3):
            rows = [Widths(*map(self.width, row)) for row in scale_rows(rows, self.deepen_factor)]
            yield Stage(f'pool{i}', channels, 2**i, partial(max_pool, pool, 2))
            yield Stage(f'stage{i}', rows[-1].out, 2**i, partial(inception_modules, channels, rows, arch.five, **conv))
            channels = rows[-1].out


def stage2(in_channels: int, reduce: int, out_channels: int, local_norm: bool, **conv: object) -> nn.Sequential:
    """1x1 where there is one, 3x3: (N, C, H, W) to (N, C_out, H, W).

    The local normalisation has AlexNet's constants over 5 channels (alpha 1e-4, beta 0.75, in Caffe's form), which are
    PyTorch's defaults; the paper gives none.
    """
    layers = OrderedDict()
    if local_norm:
        layers['norm1'] = nn.LocalResponseNorm(5)
    if reduce:
        layers['reduce'] = ConvNormAct(in_channels, reduce, 1, **conv)
    layers['conv'] = ConvNormAct(reduce or in_channels, out_channels, 3, **conv)
    if local_norm:
        layers['norm2'] = nn.LocalResponseNorm(5)
    return nn.Sequential(layers)


def inception_modules(in_channels: int, rows: Sequence[Widths], five: int, **conv: object) -> nn.Sequential:
    """A module for each of ``rows``: (N, C, H, W) to (N, C_out, H, W)."""
    inputs = [in_channels, *(widths.out for widths in rows[:-1])]
    return nn.Sequential(*(Inception(c, widths, five, **conv) for c, widths in zip(inputs, rows, strict=True)))
