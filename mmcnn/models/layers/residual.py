"""Residual blocks and stages of ResNet (He et al., arXiv 1512.03385) and ResNeXt (Xie et al., arXiv 1611.05431)."""

from __future__ import annotations

from collections.abc import Callable

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from .conv import ConvNormAct
from .one_pass import plus


class BasicBlock(nn.Module):
    """3x3 of ``stride``, 3x3, plus the input, activation: (N, C_in, H, W) to (N, C_out, ceil(H/s), ceil(W/s)).

    Where the shape changes, the input goes through a 1x1 of ``stride`` (option B of arXiv 1512.03385). ``conv`` are
    further arguments of :class:`~mmcnn.models.layers.conv.ConvNormAct`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, act_cfg: dict, **conv: object) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, 3, stride, act_cfg=act_cfg, **conv)
        self.conv2 = ConvNormAct(out_channels, out_channels, 3, act_cfg=None, **conv)
        self.shortcut = _shortcut(in_channels, out_channels, stride, **conv)
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/s), ceil(W/s))."""
        return plus(self.conv2, self.conv1(x), self.shortcut(x), self.act)


class Bottleneck(nn.Module):
    """1x1 to ``hidden``, 3x3, 1x1 to C_out, plus the input, activation.

    (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride)). Where the shape changes, the input goes through a
    1x1 of ``stride``. ``conv`` are further arguments of :class:`~mmcnn.models.layers.conv.ConvNormAct`.

    Args:
        in_channels: of the block.
        out_channels: likewise.
        stride: likewise.
        hidden: channels of the 3x3.
        groups: of the 3x3.
        stride_on_3x3: the stride is on the 3x3 (PyTorch's networks) instead of on the first 1x1 (the paper).
        last: builds the last 1x1, with the arguments of ConvNormAct.
        dcn: config of a deformable convolution in place of the 3x3; None: a plain one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        hidden: int,
        groups: int = 1,
        stride_on_3x3: bool = True,
        last: Callable[..., nn.Module] = ConvNormAct,
        dcn: dict | None = None,
        act_cfg: dict,
        **conv: object,
    ) -> None:
        super().__init__()
        first, second = (1, stride) if stride_on_3x3 else (stride, 1)
        self.conv1 = ConvNormAct(in_channels, hidden, 1, first, act_cfg=act_cfg, **conv)
        self.conv2 = ConvNormAct(hidden, hidden, 3, second, groups=groups, conv_cfg=dcn, act_cfg=act_cfg, **conv)
        self.conv3 = last(hidden, out_channels, 1, act_cfg=None, **conv)
        self.shortcut = _shortcut(in_channels, out_channels, stride, **conv)
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride))."""
        return plus(self.conv3, self.conv2(self.conv1(x)), self.shortcut(x), self.act)


class ResidualStage(nn.Sequential):
    """Blocks at one stride: (N, C_in, H, W) to (N, C_out, ceil(H/2), ceil(W/2)).

    Args:
        block: builds a block from its input and output channels and its stride.
        in_channels: of the stage.
        out_channels: likewise.
        depth: number of blocks.
        pool: whether a 3x3 max-pool halves the map (the stage behind the stem) instead of the first block.
    """

    def __init__(
        self, block: Callable[..., nn.Module], in_channels: int, out_channels: int, depth: int, pool: bool
    ) -> None:
        super().__init__()
        if pool:
            self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        first = block(in_channels, out_channels, stride=1 if pool else 2)
        self.blocks = nn.Sequential(first, *(block(out_channels, out_channels) for _ in range(depth - 1)))


def _shortcut(in_channels: int, out_channels: int, stride: int, **conv: object) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNormAct(in_channels, out_channels, 1, stride, act_cfg=None, **conv)
