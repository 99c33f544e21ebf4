"""Backbones with a feature pyramid built in (FPN: Lin et al., arXiv 1612.03144, Figure 3 and section 4.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmcnn.registry import register_backbone

from .base import Stage
from .pyramid import Pyramid, PyramidStage
from .resnet import VARIANTS as RESNETS
from .resnet import Arch as ResNetArch
from .resnet import ResNet
from .row import Top


@dataclass(frozen=True, kw_only=True)
class PyramidArch:
    """The pyramid's fields of a row; they correspond to the arguments of MMDetection's ``dict(type='FPN', ...)``."""

    pyramid: int = 256  # channels of every output
    finest: int = 2  # finest level
    coarsest: int = 5  # coarsest level computed from the backbone's own maps
    extra: int = 1  # number of coarser levels, each a subsampling by 2 of the level before
    top: Top | None = None


class PyramidConv(nn.Conv2d):
    """A convolution of the pyramid, with bias and initialised as in MMDetection."""

    def reset_parameters(self) -> None:
        """Initialise the weights by Xavier's uniform rule and the bias with zeros."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class BackboneWithNeck(Pyramid):
    """A family followed by a feature pyramid, for detectors that have no neck.

    ``class VoVNetFPN(BackboneWithNeck, VoVNet)`` is an example; its rows are of ``class Arch(PyramidArch,
    VoVNetArch)``.

    The graph is that of MMDetection's FPN: a 1x1 ``lateral{i}`` on each level of the trunk (the family without its
    pyramid); each lateral is added to the next coarser sum, which is upsampled by nearest neighbours; a 3x3
    ``output{i}`` follows each sum. As everywhere, only what the requested levels need is built: ``out_indices=(3, 4)``
    is an FPN of C3 and C4 without the last stage of the trunk.

    The trunk's tensors keep the names that they have without the pyramid (``stem``, ``stage1``, ...; in a detector
    ``backbone.stem.conv.weight``, ``backbone.lateral2.weight``). So ``init_cfg=dict(type='Pretrained', checkpoint=FILE,
    prefix='backbone.')`` can load the trunk of a classifier as well as the backbone of a whole detector: if the file
    has no tensor of the pyramid, the pyramid keeps its initialisation; everything else has to fit exactly.

    Args:
        variant: row of the family's table.
        neck: 'pyramid', or None for the plain family with its own levels.
        frozen_stages: freezes the trunk up to and including this level; the pyramid is never frozen.
        **kwargs: see :class:`~mmcnn.models.backbones.base.Backbone`.

    Attributes:
        levels: levels of the pyramid, or of the plain family with ``neck=None``.

    Raises:
        ValueError: ``neck`` is neither 'pyramid' nor None.
    """

    default_levels = (2, 3, 4, 5, 6)

    def __init__(self, variant: str, *, neck: str | None = 'pyramid', **kwargs: Any) -> None:
        if neck not in ('pyramid', None):
            raise ValueError(f"neck={neck!r} of {variant} must be 'pyramid' or None for the bare trunk")
        self._has_neck = neck is not None
        super().__init__(variant, **kwargs)

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the trunk and of the pyramid, each output behind the stage that it needs."""
        trunk = super().stages()
        if not self._has_neck:
            yield from trunk
            return
        arch = self.arch
        channels, maps = self.width(arch.pyramid), {}
        for stage in trunk:
            # Stages finer than the pyramid's first level are not separate levels; they count as part of that first
            # level.
            stage = replace(stage, stride=max(stage.stride, 2**arch.finest))
            if stage.stride <= 2**arch.coarsest:
                maps[stage.stride] = stage.channels
                yield stage
        for level in range(arch.finest, arch.coarsest + 1):
            lateral = partial(PyramidConv, maps[2**level], channels, 1)
            output = partial(PyramidConv, channels, channels, 3, padding=1)
            yield PyramidStage(f'lateral{level}', channels, 2**level, lateral)
            yield PyramidStage(f'output{level}', channels, 2**level, output)
        for level in range(arch.coarsest + 1, arch.coarsest + 1 + arch.extra):
            yield PyramidStage(f'output{level}', channels, 2**level, partial(nn.MaxPool2d, 1, stride=2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the levels ``out_indices``, (N, C, ceil(H/2**i), ceil(W/2**i))."""
        if not self._has_neck:
            return super().forward(x)
        starts = self._starts()
        sums = self.sums(x, starts[0], starts[-1])
        outputs = {level: getattr(self, f'output{level}')(sums[level]) for level in starts}
        for level in range(starts[-1] + 1, self.out_indices[-1] + 1):
            outputs[level] = getattr(self, f'output{level}')(outputs[level - 1])
        return tuple(outputs[level] for level in self.out_indices)

    def _starts(self) -> list[int]:
        """Return the levels whose sums the outputs start from, fine to coarse; extra levels start from the coarsest."""
        return sorted({min(stride.bit_length() - 1, self.arch.coarsest) for stride in self.out_strides})

    def _needs(self, stage: Stage) -> bool:
        if not isinstance(stage, PyramidStage):
            return super()._needs(stage)
        level, starts = stage.stride.bit_length() - 1, self._starts()
        if stage.name.startswith('output') and level <= self.arch.coarsest:
            return level in starts
        return starts[0] <= level and stage.stride <= self.out_strides[-1]

    def may_lack(self, keys: Collection[str]) -> dict[str, list[str]]:
        """Return the pyramid's entries if the file has none of them; a file with only some of them is rejected."""
        pyramid = [key for key in self.state_dict() if key.split('.')[0] not in self._strides]
        missing = {} if set(pyramid) & set(keys) else {'the pyramid, which keeps its initial values': pyramid}
        return {**super().may_lack(keys), **missing}


@dataclass(frozen=True, kw_only=True)
class Arch(PyramidArch, ResNetArch):
    """A row of the table."""


def with_pyramid(row: ResNetArch) -> Arch:
    """Return a ResNet's row with a pyramid in place of the classifier."""
    return Arch(**{**vars(row), 'top': None})


# The trunk has 23,587,712 parameters (23,534,592 trainable), the pyramid 3,344,384.
VARIANTS = {'resnet-fpn': with_pyramid(RESNETS['resnet50']), 'resnet-fpn-tv': with_pyramid(RESNETS['resnet50-tv'])}


@register_backbone
class ResNetFPN(BackboneWithNeck, ResNet):
    """ResNet-50 with a feature pyramid; levels 2 to 6 (P2 to P6 of Faster R-CNN), all of them by default.

    Arguments: see :class:`BackboneWithNeck`.
    """

    variants = VARIANTS
