"""A convolution and its activation in one pass over memory, for inference on x86."""

from __future__ import annotations

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
from mmcnn.compat.private_names import has_forward_hooks, has_hooks

from .padding import SameConv2d, pad_same
from .shortcut import add_shortcut

#: Up to this many pixels per batch a 1x1 convolution is faster as a matrix product (Xeon with AVX512, one thread:
#: 0.63 to 0.9 of the time up to 784 pixels, 1.05 to 1.1 from 1568 on).
FEW_PIXELS = 1024


class OnePassConv2d(nn.Conv2d):
    """A trained Conv2d or :class:`~mmcnn.models.layers.padding.SameConv2d` with the activation behind it.

    (N, C_in, H, W) to (N, C_out, H', W'), the same as both except for rounding. On an x86 processor, without gradients,
    oneDNN computes both in one pass, channels last in memory and with a weight that is reordered once, at the
    first image: it is kept beside the parameter, which doubles the memory, and rebuilt when the parameter has
    changed, which cannot be detected for a write to ``weight.data``. In all other cases, such as a graph that is being
    traced, a transform of ``torch.func``, a GPU or autocast, the two are computed one after the other.

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
        self._settings, self._fused = ConvSettings.of(conv), activation_of(self.activation)
        settings = self._settings
        self._pointwise = self.kernel_size == (1, 1) and settings.groups == 1 and settings.stride == [1, 1]
        self._pointwise = self._pointwise and settings.padding == [0, 0]
        self._packed: tuple[Any, Tensor, Tensor] | None = None  # state, reordered weight, and its source

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        if self.same:
            x = pad_same(x, self.kernel_size, self.stride)
        if not self._in_one_pass(x):
            return self.activation(super().forward(x))
        if self._is_small_product(x):
            return self.activation(self._product(x))
        return convolution(x, self._weight(x), self.bias, self._settings, self._fused)

    def plus(self, x: Tensor, other: Tensor, act: nn.Module) -> Tensor | None:
        """Return ``act(self(x) + other)``, computed in one pass; None: that is not possible here."""
        fused = activation_of(act)
        if fused is None or type(self.activation) is not nn.Identity or self.same or other.dtype is not x.dtype:
            return None
        if other.shape[2:].numel() == 1:
            return None  # oneDNN, as PyTorch 2.6 has it, cannot add maps of one pixel
        if not self._in_one_pass(x) or not may_overwrite(other) or self._is_small_product(x):
            return None
        return convolution_plus(x, other, self._weight(x), self.bias, self._settings, fused)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f'{super().extra_repr()}{", same" if self.same else ""}'

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_packed': None}  # a copy makes its own

    def _in_one_pass(self, x: Tensor) -> bool:
        return (
            self._fused is not None
            and not is_watched()  # first, since sizes may be symbolic then
            and type(x) is Tensor  # a subclass has its own operators
            and x.device.type == 'cpu'
            and x.ndim == 4
            and x.shape[1] == self.in_channels
            and self._is_large_enough(x)
            and x.dtype is self.weight.dtype
            and has_one_pass(x.dtype)
            and not (torch.is_grad_enabled() and self._needs_gradient(x))
            and not torch.is_autocast_enabled('cpu')
        )

    def _needs_gradient(self, x: Tensor) -> bool:
        bias = self.bias is not None and self.bias.requires_grad
        return x.requires_grad or self.weight.requires_grad or bias

    def _is_large_enough(self, x: Tensor) -> bool:
        """Return whether there is an output; otherwise PyTorch's own convolution raises the error."""
        at = self._settings
        sides = zip(x.shape[2:], self.kernel_size, at.padding, at.dilation, strict=True)
        return len(x) > 0 and all(side + 2 * pad > dilation * (k - 1) for side, k, pad, dilation in sides)

    def _is_small_product(self, x: Tensor) -> bool:
        return self._pointwise and x.dtype is torch.float32 and 0 < x.numel() // self.in_channels <= FEW_PIXELS

    def _product(self, x: Tensor) -> Tensor:
        """Compute a 1x1 convolution as a matrix product, which has less overhead: a pixel is a row."""
        rows = F.linear(x.permute(0, 2, 3, 1).flatten(0, 2), self.weight.flatten(1), self.bias)
        return rows.unflatten(0, (len(x), *x.shape[2:])).permute(0, 3, 1, 2)

    def _weight(self, x: Tensor) -> Tensor:
        state = state_of(self.weight)
        if state is None:
            return self.weight
        key = (*state, self.weight.dtype)
        if self._packed is None or self._packed[0] != key:
            # Its source is kept, so that no other weight can be allocated at the same address.
            self._packed = (key, packed(self.weight, self._settings, x.shape), self.weight.detach())
        return self._packed[1]


def may_overwrite(x: Tensor) -> bool:
    """Return whether a map that nothing else uses may be overwritten: no gradient and no tracer needs it unchanged."""
    return type(x) is Tensor and not x.requires_grad and not is_watched()


def plus(unit: nn.Module, x: Tensor, shortcut: Tensor, act: nn.Module | None = None) -> Tensor:
    """Return ``act(unit(x) + shortcut)``, fused with the convolution if ``unit`` has a :class:`OnePassConv2d`.

    Args:
        unit: a ConvNormAct without activation, or another module that ends as :func:`add_shortcut` needs it.
        x: (N, C_in, H, W), its input.
        shortcut: (N, C_out, H', W'), of the shape of its output.
        act: behind the sum; None: there is none.
    """
    act = nn.Identity() if act is None else act
    conv = getattr(unit, 'conv', None)
    if type(conv) is OnePassConv2d and not any(has_hooks(each) for each in (unit, *unit.children(), act)):
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
    made_by = [module for each in (unit, *behind) for module in each.modules()]
    overwrites = type(unit.conv) is OnePassConv2d and may_overwrite(out) and out.dtype is x.dtype
    if not overwrites or x.requires_grad or any(has_hooks(module) for module in made_by):
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
