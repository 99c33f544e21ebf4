"""CSPDenseNet: DenseNet with cross-stage-partial dense blocks (Wang et al., CSPNet, arXiv 1911.11929, Figures 2 and 3).

Half of a stage's input bypasses its dense block, so that fewer channels are convolved and back-propagated through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from mmcnn.models.layers import ConvNormAct, DenseBlock, NormAct, Transition, concatenate, scale_channels
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row

FUSIONS = ('both', 'first', 'last')


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 64  # output channels of the 7x7, stride 2
    depths: tuple[int, ...] = (6, 12, 24, 16)  # number of dense layers of each stage, strides 4 to 32
    growth: int = 32  # number of channels that a dense layer adds
    bottleneck: int = 128  # output channels of a dense layer's 1x1
    compression: float = 0.5  # fraction of the channels that a transition keeps, rounded up to a multiple of 8
    # Where the transitions are, Figure 3: on both sides of the concatenation with the bypass ('both', b), only behind
    # it ('first', c), or only before it ('last', d).
    fusion: str = 'both'

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise ValueError(f'fusion={self.fusion!r} of CSPDenseNet must be one of {", ".join(FUSIONS)}')


# The depths and growth of DenseNet-121; the paper gives the construction but no table of this network.
VARIANTS = {'cspdensenet121': Arch()}


class CSPDenseStage(nn.Module):
    """A partial dense stage: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    ``down``; split in halves; the second half goes through a dense block [and a transition]; concatenation [first,
    second]; normalisation and activation in the last stage. C_out = channels // 2 + the output channels of the second
    half's path.

    Args:
        down: builds the module that halves the size and outputs ``channels``.
        channels: number of channels that are split.
        depth: number of dense layers.
        bottleneck: output channels of a dense layer's 1x1.
        growth: number of channels that a dense layer adds.
        kept: output channels of the transition behind the dense block; None: there is no transition.
        last: whether this is the last stage.
        **norm_act: ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(
        self,
        down: Callable[[], nn.Module],
        channels: int,
        depth: int,
        bottleneck: int,
        growth: int,
        kept: int | None,
        last: bool,
        **norm_act: dict,
    ) -> None:
        super().__init__()
        self.halves = (channels // 2, channels - channels // 2)
        dense = self.halves[1] + depth * growth
        self.down = down()
        self.block = DenseBlock(self.halves[1], depth, bottleneck, growth, **norm_act)
        self.transition = Transition(dense, kept, pool=False, **norm_act) if kept else nn.Identity()
        self.final = NormAct(self.halves[0] + (kept or dense), **norm_act) if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
        around, through = self.down(x).split(self.halves, dim=1)
        return self.final(concatenate([around, self.transition(self.block(through))]))


@register_backbone
class CSPDenseNet(Backbone):
    """CSPDenseNet; levels 1 (the stem) to 5, stage i yields level i.

    Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`; ``arch=dict(fusion='first')`` places the transitions.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, norm_act = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        bottleneck, growth = self.width(arch.bottleneck), self.width(arch.growth)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 2, partial(ConvNormAct, self.in_channels, channels, 7, stride=2, **norm_act))
        last = len(arch.depths) + 1
        for i, depth in enumerate(map(self.depth, arch.depths), start=2):
            if i == 2:
                down = partial(nn.MaxPool2d, 3, stride=2, padding=1)
            elif arch.fusion == 'last':  # the transition was in the stage before
                down = partial(nn.AvgPool2d, 2, ceil_mode=True)
            else:
                before, channels = channels, scale_channels(channels, arch.compression)
                down = partial(Transition, before, channels, pool=True, **norm_act)
            dense = channels - channels // 2 + depth * growth
            kept = None if arch.fusion == 'first' else scale_channels(dense, arch.compression)
            build = partial(
                CSPDenseStage, down, channels, depth, bottleneck, growth, kept=kept, last=i == last, **norm_act
            )
            channels = channels // 2 + (kept or dense)
            yield Stage(f'stage{i}', channels, 2**i, build)
