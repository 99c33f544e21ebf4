"""Inception v1, GoogLeNet (Szegedy et al., arXiv 1409.4842), without its auxiliary classifiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from mmcnn.image_format import CAFFE, SYMMETRIC, ImageFormat
from mmcnn.models.layers import ChainTable, Conv, LocalNorm, MaxPool, scale_rows
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .chain_stages import chain_stages
from .row import Row, Top


def inception(
    one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int, *, kernel: int = 5
) -> tuple[ChainTable, ...]:
    """Return the module of Figure 2(b): output channels as in the columns of Table 1; ``kernel`` replaces the 5x5."""
    return (
        (Conv(one),),
        (Conv(reduce3), Conv(three, 3)),
        (Conv(reduce5), Conv(five, kernel)),
        (MaxPool(stride=1), Conv(pool)),
    )


def modules(three_3b: int = 192, kernel: int = 5) -> tuple[ChainTable, ...]:
    """Return the modules of strides 4 to 32; ``three_3b`` is the number of output channels of the 3x3 in 3b."""
    module = partial(inception, kernel=kernel)
    # Table 1: 1x1; 1x1 before the 3x3, 3x3; 1x1 before the 5x5, 5x5; 1x1 behind the pool.
    return (
        (),
        (module(64, 96, 128, 16, 32, 32), module(128, 128, three_3b, 32, 96, 64)),
        (
            module(192, 96, 208, 16, 48, 64),
            module(160, 112, 224, 24, 64, 64),
            module(128, 128, 256, 24, 64, 64),
            module(112, 144, 288, 32, 64, 64),
            module(256, 160, 320, 32, 128, 128),
        ),
        (module(256, 160, 320, 32, 128, 128), module(384, 192, 384, 48, 128, 128)),
    )


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the defaults are the paper's Table 1 and Figure 3, including the local normalisations."""

    stem: ChainTable = (Conv(64, 7, stride=2),)  # stride 2
    # Layers that open the stages of strides 4 to 32.
    openings: tuple[ChainTable, ...] = (
        (MaxPool(), LocalNorm(), Conv(64), Conv(192, 3), LocalNorm()),
        (MaxPool(),),
        (MaxPool(),),
        (MaxPool(),),
    )
    modules: tuple[ChainTable, ...] = field(default_factory=modules)  # modules that follow
    norm: dict | None = None  # the network predates batch normalisation
    image: ImageFormat = CAFFE
    top: Top | None = field(default_factory=lambda: Top(dropout=0.4))


# Table 1 of the paper: 6,998,552 parameters with 1000 classes.
PAPER = Arch()

VARIANTS = {
    # The reference table's form, 7,000,476: no 1x1 in the stem, 196 outputs of the 3x3 in 3b, no local normalisation.
    'inceptionv1': replace(
        PAPER,
        openings=((MaxPool(), Conv(192, 3)), (MaxPool(),), (MaxPool(),), (MaxPool(),)),
        modules=modules(three_3b=196),
    ),
    'inceptionv1-paper': PAPER,
    # torchvision's googlenet, 6,624,904 trainable: BatchNorm, a 3x3 in place of the 5x5, a 2x2 pool. Its weights come
    # from TensorFlow and expect inputs of -1 to 1: torchvision's transform_input converts ImageNet's normalisation to
    # that.
    'inceptionv1-tv': replace(
        PAPER,
        openings=((MaxPool(), Conv(64), Conv(192, 3)), (MaxPool(),), (MaxPool(),), (MaxPool(kernel=2),)),
        modules=modules(kernel=3),
        norm=dict(type='BN', eps=1e-3, momentum=0.1),
        image=SYMMETRIC,
        top=Top(dropout=0.2),
    ),
}


@register_backbone
class InceptionV1(Backbone):
    """GoogLeNet; levels 1 (the 7x7) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        rows = zip(arch.openings, arch.modules, strict=True)
        stages = [opening + scale_rows(blocks, self.deepen_factor) for opening, blocks in rows]
        yield from chain_stages(self, [arch.stem, *stages], padding=None)
