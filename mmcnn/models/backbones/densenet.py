"""DenseNet-BC (Huang et al., arXiv 1608.06993): every layer gets the maps of all layers before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from mmcnn.models.layers import ConvNormAct, DenseBlock, NormAct, Transition
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 64  # output channels of the 7x7, stride 2
    depths: tuple[int, ...] = (6, 12, 24, 16)  # number of dense layers of each stage, strides 4 to 32
    growth: int = 32  # number of channels that a dense layer adds, the paper's k
    bottleneck: int = 128  # output channels of a dense layer's 1x1, the paper's 4k
    compression: float = 0.5  # fraction of the channels that a transition keeps, the paper's theta
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1.001e-5, momentum=0.01))


# Table 1 of the paper, normalised as in Keras. Trainable: 7,978,856, 14,149,480 and 20,013,928 parameters.
VARIANTS = {
    'densenet121': Arch(),
    'densenet169': Arch(depths=(6, 12, 32, 32)),
    'densenet201': Arch(depths=(6, 12, 48, 32)),
}

# The same networks with torchvision's normalisation.
VARIANTS |= {f'{name}-tv': replace(row, norm=Row().norm) for name, row in VARIANTS.items()}


def dense_stage(
    in_channels: int, channels: int, depth: int, bottleneck: int, growth: int, first: bool, last: bool, **norm_act: dict
) -> nn.Sequential:
    """Build a transition to ``channels`` (``first``: a max-pool) and a dense block (``last``: normalised, activated).

    Maps (N, C_in, H, W) to (N, channels + depth * growth, ceil(H/2), ceil(W/2)).
    """
    layers = OrderedDict()
    if first:
        layers['pool'] = nn.MaxPool2d(3, stride=2, padding=1)
    else:
        layers['transition'] = Transition(in_channels, channels, pool=True, **norm_act)
    layers['block'] = DenseBlock(channels, depth, bottleneck, growth, **norm_act)
    if last:
        layers['final'] = NormAct(channels + depth * growth, **norm_act)
    return nn.Sequential(layers)


@register_backbone
class DenseNet(Backbone):
    """DenseNet; levels 1 (the stem) to 5, stage i yields level i.

    The maps of levels 2 to 4 are the concatenations of dense blocks, which are not normalised: the next transition does
    that. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.
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
            kept = channels if i == 2 else int(channels * arch.compression)
            build = partial(
                dense_stage, channels, kept, depth, bottleneck, growth, first=i == 2, last=i == last, **norm_act
            )
            channels = kept + depth * growth
            yield Stage(f'stage{i}', channels, 2**i, build)
