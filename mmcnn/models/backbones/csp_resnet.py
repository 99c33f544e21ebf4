"""CSPResNet and CSPResNeXt: ResNet bottlenecks in cross-stage-partial stages (Wang et al., arXiv 1911.11929)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmcnn.image_format import IMAGENET_256, ImageFormat
from mmcnn.models.layers import ConvNormAct, add_shortcut, concatenate, csp_transitions
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 64  # output channels of the first 7x7
    channels: tuple[int, ...] = (128, 256, 512, 1024)  # output channels of the stages, strides 4 to 32
    paths: tuple[int, ...] = (128, 256, 512, 1024)  # width of each stage's main and short path
    hidden: tuple[int, ...] = (64, 128, 256, 512)  # inner width of the bottlenecks of each stage
    depths: tuple[int, ...] = (3, 3, 5, 2)  # number of bottlenecks of each stage
    groups: int = 1  # groups of the 3x3 convolutions behind the stem
    fusion: str = 'both'  # where the transitions are, Figure 3 of the paper: 'both', 'first' or 'last'
    act: dict = field(default_factory=lambda: dict(type='LeakyReLU', negative_slope=0.01, inplace=True))
    image: ImageFormat = IMAGENET_256


# timm's graphs, depths as in the paper's cfg files: 21,616,168 and 20,569,896 trainable parameters with 1000 classes.
VARIANTS = {
    'cspresnet50': Arch(),
    'cspresnext50': Arch(channels=(256, 512, 1024, 2048), hidden=(128, 256, 512, 1024), groups=32),
}


class Bottleneck(nn.Module):
    """1x1 to ``hidden``, grouped 3x3, 1x1 back without activation, plus the input, activation; keeps the shape."""

    def __init__(self, channels: int, hidden: int, groups: int, norm_cfg: dict, act_cfg: dict) -> None:
        super().__init__()
        conv = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvNormAct(channels, hidden, 1, **conv)
        self.conv2 = ConvNormAct(hidden, hidden, 3, groups=groups_for(hidden, groups), **conv)
        self.conv3 = ConvNormAct(hidden, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        return self.act(add_shortcut(self.conv3(self.conv2(self.conv1(x))), x, self.conv3))


class CSPStage(nn.Module):
    """A cross-stage-partial stage: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    ``down`` halves the map: a max-pool in the first stage, otherwise a 3x3. The output of a 1x1 without activation is
    split into [short, main]; ``depth`` bottlenecks and the 1x1 ``post`` follow on the main path; then concatenation
    [short, post] and the 1x1 ``final``. For ``fusion`` see :func:`~mmcnn.models.layers.csp_transitions`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        path: int,
        hidden: int,
        depth: int,
        groups: int,
        pool: bool,
        fusion: str,
        **conv: object,
    ) -> None:
        super().__init__()
        self.widths = (out_channels // 2 if fusion == 'last' else path, path)
        if pool:
            self.down = nn.MaxPool2d(3, 2, padding=1)
        else:
            down_groups = groups_for(in_channels, groups)
            self.down = ConvNormAct(in_channels, in_channels, 3, stride=2, groups=down_groups, **conv)
        self.expand = ConvNormAct(in_channels, sum(self.widths), 1, **{**conv, 'act_cfg': None})
        self.blocks = nn.Sequential(*(Bottleneck(path, hidden, groups, **conv) for _ in range(depth)))
        self.post, self.final = csp_transitions(fusion, path, self.widths[0], out_channels, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
        short, main = self.expand(self.down(x)).split(self.widths, dim=1)
        return self.final(concatenate([short, self.post(self.blocks(main))]))


@register_backbone
class CSPResNet(Backbone):
    """CSPResNet; levels 1 (the stem) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`."""

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, conv = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels = self.width(arch.stem)
        yield Stage('stem', channels, 2, partial(ConvNormAct, self.in_channels, channels, 7, stride=2, **conv))
        for i, out in enumerate(map(self.width, arch.channels)):
            build = partial(
                CSPStage,
                channels,
                out,
                path=self.width(arch.paths[i]),
                hidden=self.width(arch.hidden[i]),
                depth=self.depth(arch.depths[i]),
                groups=arch.groups,
                pool=i == 0,
                fusion=arch.fusion,
                **conv,
            )
            yield Stage(f'stage{i + 1}', out, 2 ** (i + 2), build)
            channels = out


def groups_for(channels: int, groups: int) -> int:
    """Return ``groups``, or the largest number of groups that divides both it and the channels of a narrow form."""
    return math.gcd(channels, groups)
