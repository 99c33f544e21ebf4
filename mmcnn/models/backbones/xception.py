"""Xception (Chollet, arXiv 1610.02357, Figure 5): depthwise separable convolutions with residual connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmcnn.image_format import SYMMETRIC_299, ImageFormat
from mmcnn.models.layers import ConvNormAct, add_shortcut, max_pool
from mmcnn.registry import register_backbone

from .base import Backbone, Stage
from .row import Row, Top


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: tuple[int, int] = (32, 64)  # output channels of the two 3x3, the first of stride 2
    entry: tuple[int, ...] = (128, 256, 728)  # output channels of the entry flow's blocks, each of stride 2
    middle: int = 8  # number of blocks of the middle flow, which are as wide as the entry flow's last
    exit: tuple[int, ...] = (728, 1024, 1536, 2048)  # output channels of the exit flow's convolutions, two in a block
    padding: str = 'same'  # padding of the stem
    pool: str = 'same'  # padding of the 3x3 max-pools: 'same' or 'symmetric', which differ at even sizes
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1e-3, momentum=0.01))
    image: ImageFormat = SYMMETRIC_299
    top: Top | None = field(default_factory=lambda: Top(dropout=0.5))  # section 4.3 of the paper, its ImageNet runs
    as_classifier: dict = field(default_factory=lambda: dict(padding='valid'))

    def __post_init__(self) -> None:
        if self.pool not in ('same', 'symmetric'):
            raise ValueError(f"pool={self.pool!r} of Xception must be 'same' or 'symmetric'")


# Figure 5 of the paper: 22,855,952 trainable parameters with 1000 classes.
KERAS = Arch()
VARIANTS = {
    'xception': KERAS,
    # timm's legacy_xception: Keras's weights in a graph with another epsilon and symmetric padding in the pools.
    'xception-timm': replace(KERAS, pool='symmetric', norm=dict(type='BN', eps=1e-5, momentum=0.1)),
}


class SeparableConv(nn.Module):
    """Depthwise 3x3, 1x1 over the channels, norm, activation: (N, C_in, H, W) to (N, C_out, H, W).

    There is no activation between the two convolutions (Section 4.7 of the paper).
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, act_cfg: dict | None = None) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        return self.pointwise(self.depthwise(x))


class XceptionBlock(nn.Module):
    """(Activation, separable convolution) for each entry of ``channels``, plus the shortcut.

    (N, C_in, H, W) to (N, channels[-1], H, W). With a ``pool``, which halves the map at the end of the main path, the
    shortcut is a 1x1 of stride 2 with a norm; otherwise it is the input itself.
    """

    def __init__(
        self, in_channels: int, channels: tuple[int, ...], pool: str | None, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        self.act = build_activation_layer(act_cfg)
        if hasattr(self.act, 'inplace'):
            self.act.inplace = False  # the shortcut also needs the input
        self.convs = nn.ModuleList()
        for i, (before, out) in enumerate(zip((in_channels, *channels), channels, strict=False), start=1):
            self.convs.append(SeparableConv(before, out, norm_cfg, act_cfg if i < len(channels) else None))
        self.pool = self.shortcut = nn.Identity()
        if pool is not None:
            self.pool = max_pool(3, 2) if pool == 'same' else nn.MaxPool2d(3, 2, padding=1)
            self.shortcut = ConvNormAct(in_channels, channels[-1], 1, stride=2, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, channels[-1], H, W)."""
        out = self.act(x)
        for conv in self.convs:
            out = conv(out)
        return add_shortcut(self.pool(out), self.shortcut(x), self.convs, self.pool)


@register_backbone
class Xception(Backbone):
    """Xception; levels 1 (the stem) to 5. Arguments: see :class:`~mmcnn.models.backbones.base.Backbone`.

    Blocks are numbered as in Keras: ``block2`` to ``block4`` are the entry flow, followed by the middle flow
    (``block5`` to ``block12``) and the exit flow (``block13``, ``block14``). A block that halves the map opens its
    level.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, cfg = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        first, channels = map(self.width, arch.stem)
        stride, number = 2, 2
        yield Stage('stem', channels, stride, partial(stem, self.in_channels, first, channels, arch.padding, **cfg))

        # The stem's output is already activated, so the first activation of the first block changes nothing.
        entry = [(2, (self.width(out),) * 2) for out in arch.entry]
        middle = [(1, (self.width(arch.entry[-1]),) * 3)] * self.depth(arch.middle)
        *halving, third, fourth = map(self.width, arch.exit)
        for step, outs in (*entry, *middle, (2, tuple(halving))):
            pool = arch.pool if step == 2 else None
            stride *= step
            yield Stage(f'block{number}', outs[-1], stride, partial(XceptionBlock, channels, outs, pool, **cfg))
            channels, number = outs[-1], number + 1
        yield Stage(f'block{number}', fourth, stride, partial(separable_pair, channels, third, fourth, **cfg))


def stem(in_channels: int, first: int, second: int, padding: str, **cfg: dict) -> nn.Sequential:
    """Build two 3x3, the first of stride 2: to (N, second, ceil(H/2), ceil(W/2)); smaller if ``padding`` is 'valid'."""
    return nn.Sequential(
        ConvNormAct(in_channels, first, 3, stride=2, padding=padding, **cfg),
        ConvNormAct(first, second, 3, padding=padding, **cfg),
    )


def separable_pair(in_channels: int, first: int, second: int, **cfg: dict) -> nn.Sequential:
    """Build the end of the exit flow: two separable convolutions, each followed by its activation."""
    return nn.Sequential(SeparableConv(in_channels, first, **cfg), SeparableConv(first, second, **cfg))
