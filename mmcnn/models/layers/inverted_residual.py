"""Inverted residual with a linear bottleneck (Sandler et al., arXiv 1801.04381, Figure 3d)."""

from __future__ import annotations

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmcnn.compat.private_names import has_hooks

from .conv import ConvNormAct
from .one_pass import plus
from .shortcut import add_shortcut
from .squeeze_excite import SqueezeExcite


class InvertedResidual(nn.Module):
    """1x1, BN, act, depthwise k x k, BN, act, [squeeze-excite], 1x1, BN, [drop path, + input].

    (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride)). The input is added wherever it has the output's
    shape; nothing follows the addition.

    Args:
        hidden: output channels of the first 1x1; 0: there is none, and the depthwise convolution gets the input.
        excite: arguments of :class:`SqueezeExcite` behind its ``channels``; None: no squeeze-excite.
        drop_path: probability with which training drops a whole branch (stochastic depth, arXiv 1603.09382).
        padding: see :class:`ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        *,
        excite: dict | None = None,
        drop_path: float = 0.0,
        padding: str | None = None,
        norm_cfg: dict | None,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        conv = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.expand = ConvNormAct(in_channels, hidden, 1, **conv) if hidden else nn.Identity()
        hidden = hidden or in_channels
        self.depthwise = ConvNormAct(hidden, hidden, kernel_size, stride, groups=hidden, padding=padding, **conv)
        self.excite = SqueezeExcite(hidden, **excite) if excite else nn.Identity()
        self.project = ConvNormAct(hidden, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.residual = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path) if self.residual and drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride))."""
        hidden = self.excite(self.depthwise(self.expand(x)))
        if self.residual and not (self.drop_path.training or has_hooks(self.drop_path)):
            return plus(self.project, hidden, x)
        out = self.project(hidden)
        return add_shortcut(self.drop_path(out), x, self.project, self.drop_path) if self.residual else out
