"""Inception-v4 (Szegedy et al., arXiv 1602.07261, figures 3 to 9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mmcnn.image_format import SYMMETRIC_299, ImageFormat
from mmcnn.models.layers import AveragePool, ChainTable, Conv, MaxPool
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .chain_stages import chain_stages
from .row import Row, Top

# The figures, branch by branch; kernels are (height, width). Where the figures and the authors' released network differ
# in the order of 1xn and nx1, the network is followed, because its weights are the ones in use.

# Figure 3: the stem, divided where the stride changes.
STEM = (Conv(32, 3, stride=2), Conv(32, 3, valid=True), Conv(64, 3))
STEM_FORK_1 = ((MaxPool(),), (Conv(96, 3, stride=2),))
STEM_FORK_2 = (
    (Conv(64), Conv(96, 3, valid=True)),
    (Conv(64), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, valid=True)),
)
STEM_FORK_3 = ((Conv(192, 3, stride=2),), (MaxPool(),))
# Figure 4.
INCEPTION_A = (
    (Conv(96),),
    (Conv(64), Conv(96, 3)),
    (Conv(64), Conv(96, 3), Conv(96, 3)),
    (AveragePool(), Conv(96)),
)
# Figure 7 with k, l, m, n = 192, 224, 256, 384 (Table 1).
REDUCTION_A = (
    (Conv(384, 3, stride=2),),
    (Conv(192), Conv(224, 3), Conv(256, 3, stride=2)),
    (MaxPool(),),
)
# Figure 5.
INCEPTION_B = (
    (Conv(384),),
    (Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))),
    (Conv(192), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))),
    (AveragePool(), Conv(128)),
)
# Figure 8.
REDUCTION_B = (
    (Conv(192), Conv(192, 3, stride=2)),
    (Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, stride=2)),
    (MaxPool(),),
)
# Figure 6; two of the branches fork again.
INCEPTION_C = (
    (Conv(256),),
    (Conv(384), ((Conv(256, (1, 3)),), (Conv(256, (3, 1)),))),
    (Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), ((Conv(256, (1, 3)),), (Conv(256, (3, 1)),))),
    (AveragePool(), Conv(256)),
)


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: ChainTable = STEM  # stride 2
    # Layers that open the stages of strides 4 to 32.
    openings: tuple[ChainTable, ...] = ((STEM_FORK_1, STEM_FORK_2), (STEM_FORK_3,), (REDUCTION_A,), (REDUCTION_B,))
    blocks: tuple[ChainTable, ...] = ((), (INCEPTION_A,), (INCEPTION_B,), (INCEPTION_C,))  # what follows, repeated
    depths: tuple[int, ...] = (0, 4, 7, 3)  # number of repetitions
    padding: str = 'same'  # padding of the strided layers and of those marked 'V' in the figures
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01, gamma=False))
    image: ImageFormat = SYMMETRIC_299
    top: Top = field(default_factory=lambda: Top(dropout=0.2))
    as_classifier: dict = field(default_factory=lambda: dict(padding='valid'))


# Figure 9. With its top it has 42,711,400 parameters, 42,648,232 of them trainable: BatchNorm without gamma, as in the
# authors' Inception-v3.
INCEPTION_V4 = Arch()
VARIANTS = {
    'inceptionv4': INCEPTION_V4,
    # Inception-v4 under the name that it has in the reference table of counts. The paper's Inception-ResNets are
    # another family: inception-resnet-v1 and -v2.
    'inception-resnet': INCEPTION_V4,
    # timm's form, with gamma: 42,679,816 trainable.
    'inceptionv4-timm': replace(INCEPTION_V4, norm=dict(type='BN', eps=1e-3, momentum=0.1)),
}


@register_backbone
class InceptionV4(Backbone):
    """Inception-v4, also available as the row ``inception-resnet``; levels 1 to 5.

    Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch = self.arch
        rows = zip(arch.openings, arch.blocks, arch.depths, strict=True)
        stages = [opening + block * self.depth(depth) for opening, block, depth in rows]
        yield from chain_stages(self, [arch.stem, *stages], padding=arch.padding)
