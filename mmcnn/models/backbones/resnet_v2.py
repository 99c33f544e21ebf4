"""ResNet v2, with pre-activation (He et al., arXiv 1603.05027), in the form of keras.applications."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from math import gcd

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmcnn.image_format import SYMMETRIC, ImageFormat
from mmcnn.models.layers import ConvNormAct, add_shortcut, build_norm
from mmcnn.registry import register_backbone

from .base import Stage
from .deformable import Deformable
from .row import Row


@dataclass(frozen=True, kw_only=True)
class Arch(Row):
    """A row of the table."""

    stem: int = 64  # outputs of the first 7x7
    hidden: tuple[int, ...] = (64, 128, 256, 512)  # inner widths of the bottlenecks of conv2_x to conv5_x
    channels: tuple[int, ...] = (256, 512, 1024, 2048)  # their outputs
    depths: tuple[int, ...] = (3, 4, 6, 3)  # bottlenecks of conv2_x to conv5_x
    norm: dict = field(default_factory=lambda: dict(type='BN', eps=1.001e-5, momentum=0.01))
    image: ImageFormat = SYMMETRIC


# Depths: Table 1 of arXiv 1512.03385. With 1000 classes 25,568,360, 44,577,896 and 60,236,904 trainable parameters.
VARIANTS = {
    'resnet50v2': Arch(),
    'resnet101v2': Arch(depths=(3, 4, 23, 3)),
    'resnet152v2': Arch(depths=(3, 8, 36, 3)),
}


class PreActBottleneck(nn.Module):
    """Norm, act; 1x1, norm, act, 3x3, norm, act, 1x1; plus the shortcut.

    (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride)). Only the last 1x1 and the shortcut's have a bias. A
    shortcut to other channels is a 1x1 behind the first activation; to the same channels it is the input itself, of
    which a stride takes every second pixel. ``dcn`` is the config of a deformable 3x3.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        stride: int = 1,
        *,
        norm_cfg: dict,
        act_cfg: dict,
        dcn: dict | None = None,
    ) -> None:
        super().__init__()
        conv = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.norm = build_norm(norm_cfg, in_channels)
        self.act = build_activation_layer(act_cfg)
        self.project = nn.Conv2d(in_channels, out_channels, 1, stride) if in_channels != out_channels else None
        self.subsample = nn.MaxPool2d(1, stride)
        self.conv1 = ConvNormAct(in_channels, hidden, 1, **conv)
        self.conv2 = ConvNormAct(hidden, hidden, 3, stride=stride, conv_cfg=dcn, **conv)
        self.conv3 = nn.Conv2d(hidden, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.norm(x))
        shortcut = self.subsample(x) if self.project is None else self.project(out)
        return add_shortcut(self.conv3(self.conv2(self.conv1(out))), shortcut, self.conv3)


class PreActStage(nn.Module):
    """``down`` halves the map, then ``depth`` bottlenecks: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    Args:
        down_hidden: inner width of the bottleneck that halves, which keeps C_in; None: the stem's max-pool halves.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, depth: int, down_hidden: int | None, **cfg: dict | None
    ) -> None:
        super().__init__()
        self.down = (
            PreActBottleneck(in_channels, down_hidden, in_channels, stride=2, **cfg) if down_hidden else zero_max_pool()
        )
        first = PreActBottleneck(in_channels, hidden, out_channels, **cfg)
        rest = (PreActBottleneck(out_channels, hidden, out_channels, **cfg) for _ in range(depth - 1))
        self.blocks = nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.down(x))


@register_backbone
class ResNetV2(Deformable):
    """ResNet v2; levels 1 (the stem) to 5. Level 5 ends with the last norm and activation, the others with an addition.

    Keras halves in the *last* block of conv2_x to conv4_x. A stage opens with its downsampling, so that block is the
    first of the next stage here, ``stage3.down`` say. Arguments:
    :class:`~mmcnn.models.backbones.deformable.Deformable`.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        arch, cfg = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels, down_hidden, last = self.width(arch.stem), None, len(arch.depths) - 1
        stem = partial(ConvNormAct, self.in_channels, channels, 7, stride=2, norm_cfg=None, act_cfg=None)
        yield Stage('stem', channels, 2, stem)
        widths = [self.width(each) for each in arch.hidden]
        # The bottleneck that opens a stage is as wide inside as those of the one before.
        dcn = self.deformed([gcd(*widths[max(i - 1, 0) : i + 1]) for i in range(last + 1)])
        for i, depth in enumerate(map(self.depth, arch.depths)):
            hidden, out = widths[i], self.width(arch.channels[i])
            depth = depth if i == last else max(depth - 1, 1)  # the last block is the next stage's ``down``
            build = partial(PreActStage, channels, hidden, out, depth, down_hidden, dcn=dcn[i], **cfg)
            yield Stage(f'stage{i + 1}', out, 2 ** (i + 2), build)
            channels, down_hidden = out, hidden
        yield Stage('post', channels, 2 ** (last + 2), partial(post_activation, channels, **cfg))


def zero_max_pool() -> nn.Sequential:
    """3x3 max-pool of stride 2 over real zeros: they count, for the stem has no activation and its maps are signed."""
    return nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))


def post_activation(channels: int, norm_cfg: dict, act_cfg: dict) -> nn.Sequential:
    """The norm and activation behind the last addition."""
    return nn.Sequential(build_norm(norm_cfg, channels), build_activation_layer(act_cfg))
