"""Inception-ResNet v1 and v2 (Szegedy et al., arXiv 1602.07261, figures 7 and 10 to 19).

The row ``inception-resnet`` is neither of them: in the reference table the name stands for Inception-v4, so the row is
in ``inception_v4.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmcnn.image_format import SYMMETRIC_299, ImageFormat
from mmcnn.models.layers import (
    AveragePool,
    Chain,
    ChainTable,
    Conv,
    MaxPool,
    chain_channels,
    widen_chain,
)
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top

# Branch by branch; kernels are (height, width).

# Figure 14: the stem of v1. The authors' released v2 starts with the same convolutions.
STEM = (Conv(32, 3, stride=2), Conv(32, 3, valid=True), Conv(64, 3))
STEM_2 = (MaxPool(), Conv(80), Conv(192, 3, valid=True))
STEM_3_V1 = (Conv(256, 3, stride=2),)
# The released v2 has an Inception module here, 'mixed 5b'.
MIXED_5B = (
    (Conv(96),),
    (Conv(48), Conv(64, 5)),
    (Conv(64), Conv(96, 3), Conv(96, 3)),
    (AveragePool(), Conv(64)),
)
# Figures 10 and 16, the branches beside the shortcut.
A_V1 = ((Conv(32),), (Conv(32), Conv(32, 3)), (Conv(32), Conv(32, 3), Conv(32, 3)))
A_V2 = ((Conv(32),), (Conv(32), Conv(32, 3)), (Conv(32), Conv(48, 3), Conv(64, 3)))
# Figures 11 and 17.
B_V1 = ((Conv(128),), (Conv(128), Conv(128, (1, 7)), Conv(128, (7, 1))))
B_V2 = ((Conv(192),), (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))))
# Figures 13 and 19.
C_V1 = ((Conv(192),), (Conv(192), Conv(192, (1, 3)), Conv(192, (3, 1))))
C_V2 = ((Conv(192),), (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))))
# Figure 7, k, l, m, n = 192, 192, 256, 384 for v1 and 256, 256, 384, 384 for v2 (Table 1).
REDUCTION_A_V1 = ((Conv(384, 3, stride=2),), (Conv(192), Conv(192, 3), Conv(256, 3, stride=2)), (MaxPool(),))
REDUCTION_A_V2 = ((Conv(384, 3, stride=2),), (Conv(256), Conv(256, 3), Conv(384, 3, stride=2)), (MaxPool(),))
# Figures 12 and 18.
REDUCTION_B_V1 = (
    (Conv(256), Conv(384, 3, stride=2)),
    (Conv(256), Conv(256, 3, stride=2)),
    (Conv(256), Conv(256, 3), Conv(256, 3, stride=2)),
    (MaxPool(),),
)
REDUCTION_B_V2 = (
    (Conv(256), Conv(384, 3, stride=2)),
    (Conv(256), Conv(288, 3, stride=2)),
    (Conv(256), Conv(288, 3), Conv(320, 3, stride=2)),
    (MaxPool(),),
)


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: ChainTable = STEM  # stride 2
    openings: tuple[ChainTable, ...]  # layers that open the stages of strides 4 to 32
    blocks: tuple[ChainTable, ...]  # branches of the residual blocks that follow, without their last 1x1
    depths: tuple[int, ...]  # number of residual blocks of each stage
    scales: tuple[float, ...] = (1.0, 0.17, 0.10, 0.20)  # scales of a block's branches (section 3.3)
    linear_end: bool = False  # the very last block has scale 1 and no activation
    padding: str = 'same'  # padding of the strided layers and of those marked 'V' in the figures
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01, gamma=False))
    image: ImageFormat = SYMMETRIC_299
    top: Top = field(default_factory=lambda: Top(dropout=0.2))
    as_classifier: dict = field(default_factory=lambda: dict(padding='valid'))


# Figure 15 with the modules of v1. No ImageNet weights of it are published; what the paper leaves open (BatchNorm
# without gamma, a bias in the 1x1 before the addition, scales of 0.17, 0.10 and 0.20 within its range of 0.1 to 0.3) is
# as in v2. FaceNet's published form has a sixth C block at the end, with scale 1 and without activation.
INCEPTION_RESNET_V1 = Arch(
    openings=(STEM_2, STEM_3_V1, (REDUCTION_A_V1,), (REDUCTION_B_V1,)),
    blocks=((), (A_V1,), (B_V1,), (C_V1,)),
    depths=(0, 5, 10, 5),
)
# The authors' released network, which is also the one in keras.applications: 55,873,736 parameters with its top,
# 55,813,192 of them trainable. It is deeper than the paper's (10, 20, 10 blocks instead of 5, 10, 5) and has another
# stem, and therefore fewer channels at stride 8 (320 instead of 384).
INCEPTION_RESNET_V2 = Arch(
    openings=(STEM_2, (MaxPool(), MIXED_5B), (REDUCTION_A_V2,), (REDUCTION_B_V2,)),
    blocks=((), (A_V2,), (B_V2,), (C_V2,)),
    depths=(0, 10, 20, 10),
    linear_end=True,
    top=Top(conv=1536, dropout=0.2),
)
VARIANTS = {
    'inception-resnet-v1': INCEPTION_RESNET_V1,
    'inception-resnet-v2': INCEPTION_RESNET_V2,
    # timm's form, with gamma.
    'inception-resnet-v2-timm': replace(INCEPTION_RESNET_V2, norm=dict(type='BN', eps=1e-3, momentum=0.1)),
}


class InceptionResidual(nn.Module):
    """Branches, a 1x1 with bias, scaled and added to the input, activation: (N, C, H, W) to the same shape.

    Args:
        channels: C.
        branches: table of the branches.
        scale: factor of the branches; None: 1, and no activation after the addition.
        norm_cfg: MMEngine config of the normalisation.
        act_cfg: MMEngine config of the activation.
    """

    def __init__(
        self, channels: int, branches: ChainTable, scale: float | None, *, norm_cfg: dict | None, act_cfg: dict
    ) -> None:
        super().__init__()
        self.branches = Chain(channels, branches, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.project = nn.Conv2d(chain_channels(branches, channels), channels, 1)
        self.scale = 1.0 if scale is None else scale
        self.act = nn.Identity() if scale is None else build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return self.act(x + self.scale * self.project(self.branches(x)))


@register_backbone
class InceptionResNet(Backbone):
    """Inception-ResNet; levels 1 to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        stem = widen_chain(arch.stem, self.width)
        channels = chain_channels(stem, self.in_channels)
        yield Stage('stem', channels, 2, partial(Chain, self.in_channels, stem, arch.padding, **conv))
        rows = zip(arch.openings, arch.blocks, arch.depths, arch.scales, strict=True)
        for level, (opening, block, depth, scale) in enumerate(rows, start=2):
            opening, block = widen_chain(opening, self.width), widen_chain(block, self.width)
            scales = [scale] * self.depth(depth)
            if arch.linear_end and level == 5:
                scales[-1:] = [None]
            build = partial(residual_stage, channels, opening, arch.padding, block, scales, **conv)
            channels = chain_channels(opening, channels)
            yield Stage(f'stage{level}', channels, 2**level, build)


def residual_stage(
    in_channels: int,
    opening: ChainTable,
    padding: str,
    block: ChainTable,
    scales: Sequence[float | None],
    **conv: object,
) -> Chain:
    """Build the opening (stride 2) and a residual block for each scale: to (N, C_out, ceil(H/2), ceil(W/2))."""
    channels = chain_channels(opening, in_channels)
    blocks = [InceptionResidual(channels, block, scale, **conv) for scale in scales]
    return Chain(in_channels, opening, padding, **conv).extend(blocks)
