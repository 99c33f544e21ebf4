"""Inception v3 (Szegedy et al., arXiv 1512.00567), without its auxiliary classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mmcnn.image_format import SYMMETRIC_299, ImageFormat
from mmcnn.models.layers import AveragePool, ChainTable, Conv, MaxPool, scale_rows
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .chain_stages import chain_stages
from .row import Row, Top

# The figures, branch by branch; kernels are (height, width). The paper does not give the widths of the modules; they
# are those of the network that its authors published.


def inception_a(pool: int) -> tuple[ChainTable, ...]:
    """Return Figure 5, with the published network's 5x5 in the second branch; ``pool`` is the width behind the pool."""
    return (
        (Conv(64),),
        (Conv(48), Conv(64, 5)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AveragePool(), Conv(pool)),
    )


def inception_b(seven: int) -> tuple[ChainTable, ...]:
    """Return Figure 6; ``seven`` is the width of the convolutions of the 7x7 branches, except for the last one."""
    return (
        (Conv(192),),
        (Conv(seven), Conv(seven, (1, 7)), Conv(192, (7, 1))),
        (Conv(seven), Conv(seven, (7, 1)), Conv(seven, (1, 7)), Conv(seven, (7, 1)), Conv(192, (1, 7))),
        (AveragePool(), Conv(192)),
    )


# Figure 7; two of the branches fork again.
INCEPTION_C = (
    (Conv(320),),
    (Conv(384), ((Conv(384, (1, 3)),), (Conv(384, (3, 1)),))),
    (Conv(448), Conv(384, 3), ((Conv(384, (1, 3)),), (Conv(384, (3, 1)),))),
    (AveragePool(), Conv(192)),
)
REDUCTION_A = (
    (Conv(384, 3, stride=2),),
    (Conv(64), Conv(96, 3), Conv(96, 3, stride=2)),
    (MaxPool(),),
)
REDUCTION_B = (
    (Conv(192), Conv(320, 3, stride=2)),
    (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2)),
    (MaxPool(),),
)


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table; the defaults are the network of the paper's Table 1 as its authors published it."""

    stem: ChainTable = (Conv(32, 3, stride=2), Conv(32, 3, valid=True), Conv(64, 3))  # stride 2
    # Layers that open the stages of strides 4 to 32.
    openings: tuple[ChainTable, ...] = (
        (MaxPool(), Conv(80), Conv(192, 3, valid=True)),
        (MaxPool(),),
        (REDUCTION_A,),
        (REDUCTION_B,),
    )
    # Modules that follow.
    modules: tuple[ChainTable, ...] = (
        (),
        (inception_a(32), inception_a(64), inception_a(64)),
        (inception_b(128), inception_b(160), inception_b(160), inception_b(192)),
        (INCEPTION_C, INCEPTION_C),
    )
    padding: str = 'same'  # padding of the stem and the reductions; the paper's classifier has 'valid'
    count_padding: bool = False  # whether the average pools count the zeros around the map
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01, gamma=False))
    image: ImageFormat = SYMMETRIC_299
    as_classifier: dict = field(default_factory=lambda: dict(padding='valid'))


VARIANTS = {
    # Keras's form, BatchNorm without gamma: 23,817,352 trainable parameters with 1000 classes.
    'inceptionv3': Arch(),
    # torchvision's form, with gamma: 23,834,568. Its weights expect inputs of -1 to 1 as well: torchvision's
    # transform_input converts ImageNet's normalisation to that.
    'inceptionv3-tv': Arch(count_padding=True, norm=dict(type='BN', eps=1e-3, momentum=0.1), top=Top(dropout=0.5)),
}


@register_backbone
class InceptionV3(Backbone):
    """Inception v3; levels 1 (the first three 3x3) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.

    The backbone pads where the classifiers of the paper, Keras and torchvision do not, so that its maps have the sizes
    that detectors expect. With their weights its maps are therefore close to theirs but not equal.
    ``arch=dict(padding='valid')`` makes them equal; :func:`~mmcnn.models.classifiers.build_classifier` sets it
    automatically.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        rows = zip(arch.openings, arch.modules, strict=True)
        stages = [opening + scale_rows(modules, self.deepen_factor) for opening, modules in rows]
        yield from chain_stages(self, [arch.stem, *stages], padding=arch.padding, count_padding=arch.count_padding)
