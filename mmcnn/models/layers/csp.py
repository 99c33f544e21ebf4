"""Residual bottleneck and cross-stage-partial layers that several families share."""

from __future__ import annotations

from torch import Tensor, nn

from .concat import concatenate
from .conv import ConvNormAct
from .one_pass import plus_input


class DarknetBottleneck(nn.Module):
    """1x1 to ``hidden``, 3x3 back to ``channels``, plus the input: (N, C, H, W) to the same shape.

    Nothing follows the addition (YOLOv3, arXiv 1804.02767, Table 1).
    """

    def __init__(self, channels: int, hidden: int, shortcut: bool = True, **conv: object) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv1 = ConvNormAct(channels, hidden, 1, **conv)
        self.conv2 = ConvNormAct(hidden, channels, 3, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out = self.conv2(self.conv1(x))
        return plus_input(out, x, self.conv2) if self.shortcut else out


class C3(nn.Module):
    """CSP layer of three convolutions (YOLOv5 v4 on): (N, C_in, H, W) to (N, C_out, H, W).

    1x1 to half the outputs on a main and a short path, ``depth`` bottlenecks on the main one, concatenated
    [main, short], 1x1. The same graph and names as MMDetection's CSPLayer.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, shortcut: bool = True, **conv: object) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.main_conv = ConvNormAct(in_channels, hidden, 1, **conv)
        self.short_conv = ConvNormAct(in_channels, hidden, 1, **conv)
        self.blocks = nn.Sequential(*(DarknetBottleneck(hidden, hidden, shortcut, **conv) for _ in range(depth)))
        self.final_conv = ConvNormAct(2 * hidden, out_channels, 1, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        return self.final_conv(concatenate([self.blocks(self.main_conv(x)), self.short_conv(x)]))


def csp_transitions(
    fusion: str, main: int, short: int, out_channels: int, **conv: object
) -> tuple[nn.Module, nn.Module]:
    """Return the 1x1 transitions of a cross-stage-partial stage, placed as in Figure 3 of CSPNet (arXiv 1911.11929).

    Args:
        fusion: 'both': one on the main path, one behind the concatenation (3b); 'first': only the one behind it (3c);
            'last': only the one before it (3d).
        main: channels of the main path.
        short: channels of the short path.
        out_channels: channels of the stage's output. With 'last' the concatenation is the output, so the transition
            gives the main path ``out_channels - short`` channels.
        **conv: ``norm_cfg`` and ``act_cfg`` of the transitions.

    Returns:
        The transition of the main path and that of the concatenation; a missing one is an identity.

    Raises:
        ValueError: ``fusion`` is none of these.
    """
    if fusion not in ('both', 'first', 'last'):
        raise ValueError(f"fusion='{fusion}' must be 'both', 'first' or 'last'")
    if fusion == 'first':
        return nn.Identity(), ConvNormAct(main + short, out_channels, 1, **conv)
    if fusion == 'last':
        return ConvNormAct(main, out_channels - short, 1, **conv), nn.Identity()
    return ConvNormAct(main, main, 1, **conv), ConvNormAct(main + short, out_channels, 1, **conv)
