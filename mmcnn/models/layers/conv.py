"""Convolution, normalisation and activation: the unit that all networks here are made of."""

from __future__ import annotations

from functools import partial

from mmcv.cnn import build_activation_layer, build_conv_layer, build_norm_layer
from torch import Tensor, nn

from .depthwise import convolve
from .narrow_norm import normalise
from .padding import SameConv2d, check_padding

#: Activations whose gradient needs their input: in place, autograd keeps a copy of it, which saves no memory and is
#: slower than a separate result.
COPIED_IN_PLACE = (nn.SiLU, nn.Hardswish)


def build_norm(cfg: dict, channels: int) -> nn.Module:
    """Build a normalisation from its MMEngine config; ``gamma=False`` omits the scale (Keras's ``scale=False``)."""
    cfg = dict(cfg)
    gamma = cfg.pop('gamma', True)
    norm = build_norm_layer(cfg, channels)[1]
    if not gamma:
        norm.register_parameter('weight', None)
    return norm


class ConvNormAct(nn.Module):
    """Conv2d, normalisation, activation; keys ``conv`` and ``bn``, as MMCV's ConvModule has them.

    MMCV's ConvModule re-initialises convolutions depending on how deeply they are nested; here PyTorch's
    own initialisation is kept unless an ``init_cfg`` says otherwise.

    Args:
        in_channels: channels of the input and the output.
        out_channels: likewise.
        kernel_size: side of the square kernel, or (height, width).
        stride: at stride s the output is ``(N, out_channels, ceil(H/s), ceil(W/s))``, unless the padding is 'valid'.
        padding: None: half the (odd) kernel on each side, as PyTorch's networks have it; 'same': TensorFlow's, which
            differs where a stride meets an even size; 'valid': none.
        groups: groups of the convolution.
        bias: a bias in the convolution; None: only where there is no normalisation.
        conv_cfg: MMCV config of another kind of convolution (``dict(type='DCNv2')``), for the padding None; None:
            Conv2d.
        norm_cfg: MMEngine config of the normalisation (``dict(type='BN', eps=1e-5)``), see :func:`build_norm`; None:
            none.
        act_cfg: MMEngine config of the activation (``dict(type='mmcnn.Mish')``); None: none.

    Raises:
        ValueError: another ``padding``, or one beside a ``conv_cfg``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        *,
        padding: str | None = None,
        groups: int = 1,
        bias: bool | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None,
        act_cfg: dict | None,
    ) -> None:
        super().__init__()
        check_padding(padding, (None, 'same', 'valid'))
        if bias is None:
            bias = norm_cfg is None
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        asymmetric = padding == 'same' and stride > 1 and kernel != (1, 1)
        pads = (0, 0) if asymmetric or padding == 'valid' else (kernel[0] // 2, kernel[1] // 2)
        conv = SameConv2d if asymmetric else nn.Conv2d
        if conv_cfg is not None:
            if padding is not None:
                raise ValueError(f'padding={padding!r} is for Conv2d, not for {conv_cfg}')
            import mmcv.ops  # noqa: F401  (registers its convolutions)

            conv = partial(build_conv_layer, conv_cfg)
        self.conv = conv(in_channels, out_channels, kernel, stride, pads, groups=groups, bias=bias)
        self.bn = build_norm(norm_cfg, out_channels) if norm_cfg else nn.Identity()
        self.act = build_activation_layer(act_cfg) if act_cfg else nn.Identity()

        self._in_place = isinstance(self.act, COPIED_IN_PLACE) and self.act.inplace
        self.train(self.training)

    _in_place = False  # of a module that an older release has pickled

    def train(self, mode: bool = True) -> ConvNormAct:
        """Set the mode; an activation whose input autograd would copy works in place in evaluation mode only."""
        super().train(mode)
        if self._in_place:
            self.act.inplace = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H/stride), ceil(W/stride)); smaller if the padding is 'valid'."""
        return self.act(normalise(self.bn, convolve(self.conv, x)))
