"""Inception v2, the first Inception network with batch normalisation (Ioffe & Szegedy, arXiv 1502.03167, Figure 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mmcnn.image_format import SYMMETRIC, ImageFormat
from mmcnn.models.layers import AveragePool, ChainTable, Conv, MaxPool, scale_rows
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .chain_stages import chain_stages
from .row import Row

AVERAGE, MAX = AveragePool(), MaxPool(stride=1)


def inception(
    one: int, reduce3: int, three: int, reduce_double: int, double: int, project: int, pool: AveragePool | MaxPool
) -> tuple[ChainTable, ...]:
    """Return a module of stride 1 with the widths of Figure 5's columns; both 3x3 of the double one have the same."""
    return (
        (Conv(one),),
        (Conv(reduce3), Conv(three, 3)),
        (Conv(reduce_double), Conv(double, 3), Conv(double, 3)),
        (pool, Conv(project)),
    )


def reduction(reduce3: int, three: int, reduce_double: int, double: int) -> tuple[ChainTable, ...]:
    """Return a module of stride 2, which has neither a 1x1 branch nor a 1x1 behind its pool."""
    return (
        (Conv(reduce3), Conv(three, 3, stride=2)),
        (Conv(reduce_double), Conv(double, 3), Conv(double, 3, stride=2)),
        (MaxPool(),),
    )


# Figure 5, column by column: 1x1; 1x1 before the 3x3; 3x3; 1x1 before the double 3x3; each 3x3 of it; 1x1 behind the
# pool; the pool.
INCEPTION_3A = inception(64, 64, 64, 64, 96, 32, AVERAGE)
INCEPTION_3B = inception(64, 64, 96, 64, 96, 64, AVERAGE)
REDUCTION_3C = reduction(128, 160, 64, 96)
MODULES_4 = (
    inception(224, 64, 96, 96, 128, 128, AVERAGE),
    inception(192, 96, 128, 96, 128, 128, AVERAGE),
    inception(160, 128, 160, 128, 160, 96, AVERAGE),
    inception(96, 128, 192, 160, 192, 96, AVERAGE),
)
REDUCTION_4E = reduction(128, 192, 192, 256)
MODULES_5 = (
    inception(352, 192, 320, 160, 224, 128, AVERAGE),
    inception(352, 192, 320, 192, 224, 128, MAX),
)


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the defaults are the paper's network."""

    stem: ChainTable = (Conv(64, 7, stride=2),)  # stride 2
    # Layers that open the stages of strides 4 to 32.
    openings: tuple[ChainTable, ...] = (
        (MaxPool(), Conv(64), Conv(192, 3)),
        (MaxPool(),),
        (REDUCTION_3C,),
        (REDUCTION_4E,),
    )
    modules: tuple[ChainTable, ...] = ((), (INCEPTION_3A, INCEPTION_3B), MODULES_4, MODULES_5)  # modules that follow
    bias: bool = True  # whether the convolutions have a bias in addition to BatchNorm
    # The paper gives no epsilon; TensorFlow's Inception networks and Keras use 1e-3.
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01))
    image: ImageFormat = SYMMETRIC  # no weights of it are published; it is the other Inceptions' format


# Figure 5 of the paper: 11,204,936 trainable parameters with 1000 classes. The 7x7 is an ordinary convolution, and the
# pool branches of 4c and 4d have 96 outputs: with the figure's 128 the sum would not be the 576 that it gives for both
# modules.
PAPER = Arch()

VARIANTS = {
    # The reference table's form, 11,133,064: 3b is a copy of 3a.
    'inceptionv2': replace(PAPER, modules=((), (INCEPTION_3A, INCEPTION_3A), MODULES_4, MODULES_5)),
    'inceptionv2-paper': PAPER,
}


@register_backbone
class InceptionV2(Backbone):
    """BN-Inception; levels 1 (the 7x7) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        rows = zip(arch.openings, arch.modules, strict=True)
        stages = [opening + scale_rows(modules, self.deepen_factor) for opening, modules in rows]
        yield from chain_stages(self, [arch.stem, *stages], bias=arch.bias or None)
