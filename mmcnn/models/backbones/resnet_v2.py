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

    stem: int = 64  # output channels of the first 7x7
    hidden: tuple[int, ...] = (64, 128, 256, 512)  # inner widths of the bottlenecks of conv2_x to conv5_x
    channels: tuple[int, ...] = (256, 512, 1024, 2048)  # output channels of conv2_x to conv5_x
    depths: tuple[int, ...] = (3, 4, 6, 3)  # number of bottlenecks of conv2_x to conv5_x
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

    Maps (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride)). Only the last 1x1 and the shortcut's 1x1 have a
    bias. If the number of channels changes, the shortcut is a 1x1 behind the first activation; otherwise it is the
    input itself, subsampled by the stride. ``dcn`` is the config of a deformable 3x3.
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
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride))."""
        out = self.act(self.norm(x))
        shortcut = self.subsample(x) if self.project is None else self.project(out)
        return add_shortcut(self.conv3(self.conv2(self.conv1(out))), shortcut, self.conv3)


class PreActStage(nn.Module):
    """``down``, which halves the map, and ``depth`` bottlenecks: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    Args:
        in_channels: C_in.
        hidden: inner width of the bottlenecks.
        out_channels: C_out.
        depth: number of bottlenecks.
        down_hidden: inner width of the bottleneck that halves the map and keeps C_in; None: the stem's max-pool halves
            it.
        **cfg: ``norm_cfg``, ``act_cfg`` and ``dcn`` of the bottlenecks.
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
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2))."""
        return self.blocks(self.down(x))


@register_backbone
class ResNetV2(Deformable):
    """ResNet v2; levels 1 (the stem) to 5. Level 5 ends with the last norm and activation, the others with an addition.

    Keras halves the map in the *last* block of conv2_x to conv4_x. Here a stage starts with its downsampling, so that
    block is the first of the next stage, for example ``stage3.down``. Arguments: see
    :class:`~mmcnn.models.backbones.deformable.Deformable`.
    """

    variants = VARIANTS

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the family in order, from the image on."""
        arch, cfg = self.arch, dict(norm_cfg=self.norm_cfg, act_cfg=self.arch.act)
        channels, down_hidden, last = self.width(arch.stem), None, len(arch.depths) - 1
        stem = partial(ConvNormAct, self.in_channels, channels, 7, stride=2, norm_cfg=None, act_cfg=None)
        yield Stage('stem', channels, 2, stem)
        widths = [self.width(each) for each in arch.hidden]
        # The bottleneck that opens a stage has the inner width of the stage before.
        dcn = self.deformed([gcd(*widths[max(i - 1, 0) : i + 1]) for i in range(last + 1)])
        for i, depth in enumerate(map(self.depth, arch.depths)):
            hidden, out = widths[i], self.width(arch.channels[i])
            depth = depth if i == last else max(depth - 1, 1)  # the last block is the next stage's ``down``
            build = partial(PreActStage, channels, hidden, out, depth, down_hidden, dcn=dcn[i], **cfg)
            yield Stage(f'stage{i + 1}', out, 2 ** (i + 2), build)
            channels, down_hidden = out, hidden
        yield Stage('post', channels, 2 ** (last + 2), partial(post_activation, channels, **cfg))


def zero_max_pool() -> nn.Sequential:
    """Build a 3x3 max-pool of stride 2 over zero padding; the zeros matter, because the stem's maps can be negative."""
    return nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))


def post_activation(channels: int, norm_cfg: dict, act_cfg: dict) -> nn.Sequential:
    """Build the normalisation and activation behind the last addition."""
    return nn.Sequential(build_norm(norm_cfg, channels), build_activation_layer(act_cfg))
