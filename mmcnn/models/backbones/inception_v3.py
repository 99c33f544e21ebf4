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

# The figures, branch by branch; kernels are (height, width). The paper gives no widths of the modules: they are those
# of the network that its authors published.


def inception_a(pool: int) -> tuple[ChainTable, ...]:
    """Figure 5, the second branch with the published network's 5x5; ``pool`` are the outputs behind the pool."""
    return (
        (Conv(64),),
        (Conv(48), Conv(64, 5)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AveragePool(), Conv(pool)),
    )


def inception_b(seven: int) -> tuple[ChainTable, ...]:
    """Figure 6; ``seven`` are the outputs of all but the last convolution of the 7x7 branches."""
    return (
        (Conv(192),),
        (Conv(seven), Conv(seven, (1, 7)), Conv(192, (7, 1))),
        (Conv(seven), Conv(seven, (7, 1)), Conv(seven, (1, 7)), Conv(seven, (7, 1)), Conv(192, (1, 7))),
        (AveragePool(), Conv(192)),
    )


# Figure 7; two branches fork once more.
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
    # What opens the stages of strides 4 to 32.
    openings: tuple[ChainTable, ...] = (
        (MaxPool(), Conv(80), Conv(192, 3, valid=True)),
        (MaxPool(),),
        (REDUCTION_A,),
        (REDUCTION_B,),
    )
    # What follows.
    modules: tuple[ChainTable, ...] = (
        (),
        (inception_a(32), inception_a(64), inception_a(64)),
        (inception_b(128), inception_b(160), inception_b(160), inception_b(192)),
        (INCEPTION_C, INCEPTION_C),
    )
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


@register_backbone
class InceptionV3(Backbone):
    """Inception v3; levels 1 (the first three 3x3) to 5. Arguments: :class:`~mmcnn.models.backbones.base.Backbone`.

    A backbone pads where the paper's classifier, Keras's and torchvision's do not, so that its maps have the sizes that
    detectors count on: with their weights its maps are close to theirs and not equal. ``arch=dict(padding='valid')``
    makes them equal; :func:`~mmcnn.models.classifiers.build_classifier` has it so by itself.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch = self.arch
        rows = zip(arch.openings, arch.modules, strict=True)
        stages = [opening + scale_rows(modules, self.deepen_factor) for opening, modules in rows]
        yield from chain_stages(self, [arch.stem, *stages], padding=arch.padding, count_padding=arch.count_padding)
