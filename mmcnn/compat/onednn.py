"""oneDNN's convolutions fused with the operations after them, called on x86 as PyTorch's own compiler does."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import cpu_capabilities, is_in_torch_dispatch_mode, is_transformed

#: Whether this processor and this build of PyTorch have them.
HAS_ONE_PASS = platform.machine().lower() in ('x86_64', 'amd64') and torch.backends.mkldnn.is_available()

#: An activation by oneDNN's name, and its parameters.
Activation = tuple[str, list[float]]
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Identity: ('none', []),
    nn.ReLU: ('relu', []),
    nn.ReLU6: ('hardtanh', [0.0, 6.0]),
    nn.SiLU: ('swish', []),
    nn.Hardswish: ('hardswish', []),
    nn.Hardsigmoid: ('hardsigmoid', []),
    nn.Sigmoid: ('sigmoid', []),
}


def activation_of(module: nn.Module) -> Activation | None:
    """Return the activation of a module; None: oneDNN has no equivalent."""
    if type(module) is nn.LeakyReLU:
        return 'leaky_relu', [module.negative_slope]
    return ACTIVATIONS.get(type(module))


@dataclass(frozen=True)
class ConvSettings:
    """Stride, padding, dilation and groups of a convolution, as lists of (vertical, horizontal)."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    @classmethod
    def of(cls, conv: nn.Conv2d) -> ConvSettings:
        """Return the settings of a convolution."""
        return cls([*conv.stride], [*conv.padding], [*conv.dilation], conv.groups)


def has_one_pass(dtype: torch.dtype) -> bool:
    """Return whether oneDNN computes in this type here: float32, and bfloat16 if the processor has AVX512."""
    if not (HAS_ONE_PASS and torch.backends.mkldnn.enabled):
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and _has_bfloat16())


@functools.cache
def _has_bfloat16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def cpu_features() -> list[str]:
    """Return the names of this processor's bfloat16 features; empty: it has neither AVX512-BF16 nor AMX."""
    if not torch.backends.mkldnn.is_available():  # its kernels use these features
        return []
    found = cpu_capabilities()
    return [name for name, key in (('AVX512-BF16', 'avx512_bf16'), ('AMX', 'amx_bf16')) if found.get(key)]


def is_watched() -> bool:
    """Return whether operators are counted, traced or transformed as they are called, which needs PyTorch's own."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or is_transformed()


def has_memory(x: Tensor) -> bool:
    """Return whether a tensor is one of numbers, not the batch of a transform."""
    try:
        return x.data_ptr() >= 0
    except RuntimeError:
        return False


def state_of(weight: Tensor) -> tuple[int, int] | None:
    """Return a value that changes whenever a weight may have changed; None: that is not counted."""
    return None if weight.is_inference() else (weight.data_ptr(), weight._version)


def packed(weight: Tensor, settings: ConvSettings, size: torch.Size) -> Tensor:
    """Return a weight in oneDNN's order for inputs of this size; other orders would be converted at each call."""
    return torch.ops.aten.mkldnn_reorder_conv2d_weight(
        weight.detach().to_mkldnn(), settings.padding, settings.stride, settings.dilation, settings.groups, [*size]
    )


@functools.cache
def _operator(overload: str) -> Callable[..., Tensor]:
    """Return an overload of the operator; PyTorch takes longer to choose one than to compute a small convolution."""
    return getattr(torch.ops.mkldnn._convolution_pointwise, overload)


def convolution_plus(
    x: Tensor, other: Tensor, weight: Tensor, bias: Tensor | None, settings: ConvSettings, activation: Activation
) -> Tensor:
    """Return a convolution, plus a map of its output's shape, then an activation."""
    name, numbers = activation
    return _operator('binary')(
        x,
        other,
        weight,
        bias,
        settings.padding,
        settings.stride,
        settings.dilation,
        settings.groups,
        'add',
        1.0,
        None if name == 'none' else name,
        numbers,
        '',
    )


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, settings: ConvSettings, activation: Activation
) -> Tensor:
    """Return a convolution, then an activation: (N, C_in, H, W) to (N, C_out, H', W'), in memory channels last."""
    name, numbers = activation
    return _operator('default')(
        x, weight, bias, settings.padding, settings.stride, settings.dilation, settings.groups, name, numbers, ''
    )
