"""A convolution and its activation in one pass over memory, for inference on x86."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.onednn import (
    HAS_ONE_PASS,
    ConvSettings,
    activation_of,
    convolution,
    convolution_plus,
    has_one_pass,
    is_watched,
    packed,
    state_of,
)
from mmcnn.compat.private_names import has_forward_hooks, has_hooks, parameters_of
from mmcnn.machine import cpu_vendor

from .conv import ConvNormAct
from .padding import SameConv2d, pad_same
from .shortcut import add_shortcut

#: Up to this many pixels per batch a 1x1 convolution is faster as a matrix product (Xeon with AVX512, one thread:
#: 0.63 to 0.9 of the time up to 784 pixels, 1.05 to 1.1 from 1568 on).
FEW_PIXELS = 1024
#: On a processor of another vendor than Intel, whose library multiplies the matrices, only up to this many
#: multiply-adds (EPYC with AVX512, one thread: five whole networks take 0.93 to 1.00 of their time with a limit of
#: 8 million). A processor whose vendor is not known, as outside Linux, counts as another one.
FEW_PRODUCTS = 3_000_000
#: Activations that overwrite a product, without the overhead of a module.
_OVERWRITING: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Identity: lambda x: x,
    nn.ReLU: torch.relu_,
    nn.SiLU: partial(F.silu, inplace=True),
    nn.Hardswish: partial(F.hardswish, inplace=True),
}


class OnePassConv2d(nn.Conv2d):
    """A trained Conv2d or :class:`~mmcnn.models.layers.padding.SameConv2d` with the activation behind it.

    (N, C_in, H, W) to (N, C_out, H', W'), the same as both except for rounding. On an x86 processor, without gradients,
    oneDNN computes both in one pass, channels last in memory and with a weight that is reordered once, at the
    first image: it is kept beside the parameter, which doubles the memory, and rebuilt when the parameter has
    changed, which cannot be detected for a write to ``weight.data``. In all other cases, such as a graph that is being
    traced, a transform of ``torch.func``, a GPU, or autocast to another type than the weight's, the two are computed
    one after the other.

    Args:
        conv: the convolution whose parameters are used, for which :func:`fits` holds.
        activation: behind it; None: there is none.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            bias=False,
            device='meta',
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.same = isinstance(conv, SameConv2d)
        self.activation = nn.Identity() if activation is None else activation
        self.train(conv.training)
        self._packed: tuple[Any, Tensor, Tensor] | None = None  # state, reordered weight, and its source
        self._prepare()

    def _prepare(self) -> None:
        """Compute what is the same for every input: for small maps, all else in Python takes as long as the product."""
        self._settings, self._fused = ConvSettings.of(self), activation_of(self.activation)
        self._act = type(self.activation)
        window = [dilation * (k - 1) + 1 for k, dilation in zip(self.kernel_size, self.dilation, strict=True)]
        self._least = tuple(side - 2 * pad for side, pad in zip(window, self.padding, strict=True))
        pointwise = self.kernel_size == (1, 1) and self.groups == 1 and self.stride == (1, 1)
        self._most_pixels = 0
        if pointwise and self.padding == (0, 0):
            few = FEW_PRODUCTS // (self.in_channels * self.out_channels)
            self._most_pixels = FEW_PIXELS if cpu_vendor() == 'GenuineIntel' else min(FEW_PIXELS, few)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        if self.same:
            x = pad_same(x, self.kernel_size, self.stride)
        own = parameters_of(self)
        x = _as_autocast_does(x, own.get('weight'))
        if not self._in_one_pass(x, own):
            return self.activation(super().forward(x))
        weight, bias = own['weight'], own['bias']
        if self._is_small_product(x):
            out = _product(x, weight, bias)
            activate = _OVERWRITING.get(self._act)
            return self.activation(out) if activate is None else activate(out)
        return convolution(x, self._weight(weight, x), bias, self._settings, self._fused)

    def plus(self, x: Tensor, other: Tensor, act: nn.Module) -> Tensor | None:
        """Return ``act(self(x) + other)``, computed in one pass; None: that is not possible here."""
        fused = activation_of(act)
        if fused is None or self._act is not nn.Identity or self.same or other.dtype is not x.dtype:
            return None
        own = parameters_of(self)
        if not self._in_one_pass(x, own) or self._is_small_product(x):
            return None
        if type(other) is not Tensor or other.requires_grad:
            return None
        if other.shape[2:].numel() == 1:
            return None  # oneDNN, as PyTorch 2.6 has it, cannot add maps of one pixel
        return convolution_plus(x, other, self._weight(own['weight'], x), own['bias'], self._settings, fused)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f'{super().extra_repr()}{", same" if self.same else ""}'

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_packed': None}  # a copy makes its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._prepare()  # another machine may have pickled it

    def _in_one_pass(self, x: Tensor, own: dict[str, nn.Parameter | None]) -> bool:
        if (
            self._fused is None
            or not ('weight' in own and 'bias' in own)  # one is parametrized
            or is_watched()  # before the rest, since sizes may be symbolic then
            or type(x) is not Tensor  # a subclass has its own operators
            or x.ndim != 4
            or not x.is_cpu
        ):
            return False
        weight, bias = own['weight'], own['bias']
        images, channels, height, width = x.shape
        return (
            channels == self.in_channels
            and images > 0
            # There is an output; otherwise PyTorch's own convolution raises the error.
            and height >= self._least[0]
            and width >= self._least[1]
            and x.dtype is weight.dtype
            and has_one_pass(x.dtype)
            # Autocast would convert other types than its own.
            and (not torch.is_autocast_enabled('cpu') or torch.get_autocast_dtype('cpu') is x.dtype)
            and not (
                torch.is_grad_enabled()
                and (x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad))
            )
        )

    def _is_small_product(self, x: Tensor) -> bool:
        return x.numel() <= self._most_pixels * self.in_channels and x.numel() > 0 and x.dtype is torch.float32

    def _weight(self, weight: Tensor, x: Tensor) -> Tensor:
        state = state_of(weight)
        if state is None:
            return weight
        key = (*state, weight.dtype)
        if self._packed is None or self._packed[0] != key:
            # Its source is kept, so that no other weight can be allocated at the same address.
            self._packed = (key, packed(weight, self._settings, x.shape), weight.detach())
        return self._packed[1]


class OnePassUnit(ConvNormAct):
    """A :class:`~mmcnn.models.layers.conv.ConvNormAct` whose convolution does it all; made by :func:`mmcnn.fuse`."""

    @classmethod
    def of(cls, unit: ConvNormAct) -> OnePassUnit:
        """Return the unit, whose parts it takes, in one pass; it has no norm, and :func:`fits` holds for its parts."""
        made = cls.__new__(cls)
        made.__dict__.update(unit.__dict__)
        made.conv, made.act = OnePassConv2d(unit.conv, unit.act), nn.Identity()
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) as :class:`~mmcnn.models.layers.conv.ConvNormAct` does."""
        return self.conv(x)


def _as_autocast_does(x: Tensor, weight: Tensor | None) -> Tensor:
    """Convert a map to the type of a weight that is stored in the type of a CPU's autocast."""
    if weight is None or x.dtype is weight.dtype or x.dtype is not torch.float32 or not x.is_cpu:
        return x
    in_type = torch.is_autocast_enabled('cpu') and torch.get_autocast_dtype('cpu') is weight.dtype
    return x.to(weight.dtype) if in_type else x


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute a 1x1 convolution as a matrix product, which has less overhead: a pixel is a row."""
    images, _, height, width = x.shape
    rows = F.linear(x.permute(0, 2, 3, 1).flatten(0, 2), weight.flatten(1), bias)
    return rows.view(images, height, width, -1).permute(0, 3, 1, 2)


def may_overwrite(x: Tensor) -> bool:
    """Return whether a map that nothing else uses may be overwritten: no gradient and no tracer needs it unchanged."""
    return type(x) is Tensor and not x.requires_grad and not is_watched()


_NOTHING = nn.Identity()


def plus(unit: nn.Module, x: Tensor, shortcut: Tensor, act: nn.Module | None = None) -> Tensor:
    """Return ``act(unit(x) + shortcut)``, fused with the convolution if ``unit`` has a :class:`OnePassConv2d`.

    Args:
        unit: a ConvNormAct without activation, or another module that ends as :func:`add_shortcut` needs it.
        x: (N, C_in, H, W), its input.
        shortcut: (N, C_out, H', W'), of the shape of its output.
        act: behind the sum; None: there is none.
    """
    act = _NOTHING if act is None else act
    conv = getattr(unit, 'conv', None)
    if type(conv) is OnePassConv2d and not has_hooks(unit, act):
        out = conv.plus(x, shortcut, act)
        if out is not None:
            return out
    return act(add_shortcut(unit(x), shortcut, unit))


def plus_input(out: Tensor, x: Tensor, unit: nn.Module, *behind: nn.Module) -> Tensor:
    """Return ``x + out``, in place if ``out`` is the output of a :class:`OnePassConv2d` that nothing else holds.

    Args:
        out: (N, C, H, W), made by ``unit`` and the modules ``behind``; it may be that of an activation.
        x: the input of the block, of the same shape.
        unit: a ConvNormAct.
        *behind: the modules after it that ``out`` came through.
    """
    overwrites = type(unit.conv) is OnePassConv2d and may_overwrite(out) and out.dtype is x.dtype
    if not overwrites or x.requires_grad or has_hooks(unit, *behind):
        return x + out
    return out.add_(x)


def fits(conv: nn.Module) -> bool:
    """Return whether a :class:`OnePassConv2d` can replace a module on this machine, and nothing else observes it."""
    return (
        HAS_ONE_PASS
        and type(conv) in (nn.Conv2d, SameConv2d)
        and conv.padding_mode == 'zeros'
        and not isinstance(conv.padding, str)
        and conv.weight.device.type == 'cpu'
        and not has_forward_hooks(conv)
    )
