"""Convolution, normalisation, activation: the unit that every network here is made of."""

from __future__ import annotations

from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

from mmcnn.registry import MODELS

MODELS.register_module(module=nn.Mish)  # MMCV registers PyTorch's other activations, not this one


class ConvNormAct(nn.Module):
    """Conv2d, normalisation, activation; keys ``conv`` and ``bn``, as MMCV's ConvModule has them.

    MMCV's ConvModule re-initialises some convolutions and not others, by how deep they are nested; here PyTorch's
    own initialisation stays until an ``init_cfg`` says otherwise.

    Args:
        in_channels, out_channels: channels of the input and the output.
        kernel_size: side of the square kernel; an odd one keeps the size at stride 1.
        stride: at stride s the output is ``(N, out_channels, ceil(H/s), ceil(W/s))``.
        groups: groups of the convolution.
        bias: a bias in the convolution; None: only where there is no normalisation.
        norm_cfg: MMEngine config of the normalisation (``dict(type='BN', eps=1e-5)``); None: none.
        act_cfg: MMEngine config of the activation (``dict(type='mmcnn.Mish')``); None: none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool | None = None,
        norm_cfg: dict | None,
        act_cfg: dict | None,
    ) -> None:
        super().__init__()
        if bias is None:
            bias = norm_cfg is None
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=bias
        )
        self.bn = build_norm_layer(norm_cfg, out_channels)[1] if norm_cfg else nn.Identity()
        self.act = build_activation_layer(act_cfg) if act_cfg else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride))."""
        return self.act(self.bn(self.conv(x)))
