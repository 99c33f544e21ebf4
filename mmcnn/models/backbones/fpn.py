"""A plain convolutional network with a feature pyramid as one backbone (Lin et al., arXiv 1612.03144, Figure 3)."""

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

    channels: tuple[int, ...] = (32, 64, 128, 256, 512)  # output channels of the bottom-up stages, strides 1 to 16
    depths: tuple[int, ...] = (3, 3, 5, 5, 5)  # number of 3x3 convolutions of each stage
    pyramid: int = 256  # channels of every output
    norm: dict | None = None
    top: Top | None = None


# 14,306,048 parameters with all five levels: 14,050,816 in the bottom-up stages, 255,232 in the laterals.
VARIANTS = {'fpn': Arch()}


@register_backbone
class FPNTrunk(Pyramid):
    """Bottom-up stages, 1x1 laterals and the top-down path of a feature pyramid; levels 0 to 4.

    Output i is (N, 256, ceil(H/2**i), ceil(W/2**i)): the lateral of level i plus the next coarser output, upsampled by
    nearest neighbours. The path starts at the last requested level. The sums are not smoothed by a 3x3.

    All five levels are returned by default. ``frozen_stages`` freezes the bottom-up stages; the laterals keep learning.
    Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.
    """

    variants = VARIANTS
    default_levels = (0, 1, 2, 3, 4)

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        pyramid = self.width(self.arch.pyramid)
        channels = self.in_channels
        for i, (out, depth) in enumerate(zip(map(self.width, self.arch.channels), self.arch.depths, strict=True)):
            build = partial(PlainStage, channels, out, self.depth(depth), pool=i > 0, **conv)
            yield Stage(f'stage{i}', out, 2**i, build)
            yield PyramidStage(f'lateral{i}', pyramid, 2**i, partial(nn.Conv2d, out, pyramid, 1))
            channels = out

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the levels ``out_indices``, (N, 256, ceil(H/2**i), ceil(W/2**i))."""
        sums = self.sums(x, self.out_indices[0], self.out_indices[-1])
        return tuple(sums[level] for level in self.out_indices)
