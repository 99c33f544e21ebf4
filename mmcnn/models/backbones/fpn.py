"""A plain trunk with a feature pyramid, as one backbone (FPN: Lin et al., arXiv 1612.03144, Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from mmcnn.models.layers import PlainStage
from mmcnn.registry import register_backbone

from .base import Stage
from .pyramid import Pyramid, PyramidStage
from .row import Row, Top


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    channels: tuple[int, ...] = (32, 64, 128, 256, 512)  # of the trunk's stages, strides 1 to 16
    depths: tuple[int, ...] = (3, 3, 5, 5, 5)  # 3x3 convolutions of each stage
    pyramid: int = 256  # channels of every output
    norm: dict | None = None
    top: Top | None = None


# 14,306,048 parameters with all five levels: 14,050,816 of the trunk, 255,232 of the laterals.
VARIANTS = {'fpn': Arch()}


@register_backbone
class FPNTrunk(Pyramid):
    """Bottom-up stages, 1x1 laterals, and the top-down path of a feature pyramid; levels 0 to 4.

    Every output is (N, 256, ceil(H/2**i), ceil(W/2**i)): the lateral of level i plus the next coarser output, upsampled
    to the nearest. The path starts at the last level asked for. No 3x3 smooths the sums.

    All five levels are the default. ``frozen_stages`` freezes the trunk; the laterals go on learning. Arguments:
    :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = VARIANTS
    default_levels = (0, 1, 2, 3, 4)

    def stages(self) -> Iterator[Stage]:
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        pyramid = self.width(self.arch.pyramid)
        channels = self.in_channels
        for i, (out, depth) in enumerate(zip(map(self.width, self.arch.channels), self.arch.depths, strict=True)):
            build = partial(PlainStage, channels, out, self.depth(depth), pool=i > 0, **conv)
            yield Stage(f'stage{i}', out, 2**i, build)
            yield PyramidStage(f'lateral{i}', pyramid, 2**i, partial(nn.Conv2d, out, pyramid, 1))
            channels = out

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        sums = self.sums(x, self.out_indices[0], self.out_indices[-1])
        return tuple(sums[level] for level in self.out_indices)
