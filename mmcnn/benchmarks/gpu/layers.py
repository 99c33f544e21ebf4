"""Every layer of a network on the device, given its input in float64 on the CPU: the rounding part of parity.

In a network with random weights, mixed precision changes the whole gradient: each layer amplifies the rounding of the
one before. So in mixed precision, layers are compared one by one, where the rounding is known.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

#: Largest difference of a layer's output, of the gradient of its input or of one of its parameters, relative to the
#: norm. In float32: the rounding of a sum of 4,096 terms in any order, and one more digit for cuDNN's Winograd
#: transforms; in half precision: the rounding of input, weights and output, twice.
BOUNDS = {None: 10 * 4096**0.5 * 2.0**-24, torch.bfloat16: 4 * 2.0**-8, torch.float16: 4 * 2.0**-11}


def differences(
    model: nn.Module, inputs: dict[str, Tensor], device: torch.device, half: torch.dtype | None
) -> dict[str, Any]:
    """Compare all layers with one input map and one output map.

    Args:
        model: in float64 on the CPU.
        inputs: inputs of the layers, by name (:class:`InputsOf`).
        device: device to compare.
        half: type of the autocast; None: float32.

    Returns:
        ``layers``, their number; ``layer_error``, the largest difference, its layer and quantity; ``layer_bound``.
    """
    errors: dict[str, float] = {}
    for name, x in inputs.items():
        layer = model.get_submodule(name)
        expected = _outcome(layer, x, None)
        other = copy.deepcopy(layer).to(device, torch.float32)
        found = _outcome(other, x.to(device, torch.float32), half)
        for key, value in expected.items():
            norm = value.norm()
            if norm > 0:
                errors[f'{name}, {key}'] = float((found[key].cpu().double() - value).norm() / norm)
    worst = max(errors, key=lambda name: errors[name] if errors[name] == errors[name] else float('inf'))
    return dict(layers=len(inputs), layer_error=errors[worst], layer_worst=worst, layer_bound=BOUNDS[half])


class InputsOf:
    """Records the inputs of a model's layers while it is open; ``inputs`` has those of the first call by name."""

    def __init__(self, model: nn.Module) -> None:
        self.inputs: dict[str, Tensor] = {}
        self._layers = dict(_layers(model))
        self._handles: list[Any] = []

    def __enter__(self) -> InputsOf:
        for name, layer in self._layers.items():
            note = functools.partial(self._note, name)
            self._handles.append(layer.register_forward_hook(note))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str, layer: nn.Module, given: tuple, out: Any) -> None:
        if name not in self.inputs and len(given) == 1 and isinstance(given[0], Tensor) and isinstance(out, Tensor):
            self.inputs[name] = given[0].detach().clone()


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules with weights that contain no others."""
    for name, module in model.named_modules():
        if not [*module.children()] and [*module.parameters()] and name:
            yield name, module


def _outcome(layer: nn.Module, x: Tensor, half: torch.dtype | None) -> dict[str, Tensor]:
    """Return output and gradients of a layer, for a gradient of its output that follows from a seed."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast(x.device.type, half, enabled=half is not None):
        output = layer(x)
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    output.backward(given.to(output.device, output.dtype))
    return dict(
        output=output.detach(),
        input=x.grad,
        **{name: each.grad for name, each in layer.named_parameters() if each.grad is not None},
    )
