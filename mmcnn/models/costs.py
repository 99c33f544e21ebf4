"""The cost of a network: parameters, multiply-adds and memory accesses, counted for each operator as it is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import TorchDispatchMode

aten = torch.ops.aten
#: Matrix products, and the position of the first matrix among their arguments.
_PRODUCTS = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of convolutions and matrix products; norms, activations etc. are ignored.

    Multiply-adds: a multiplication with its addition counts once, as in the papers' "FLOPs" (He et al., arXiv
    1512.03385).

    Memory accesses: the elements of an operator's input map, output map and kernel, each counted once. A k x k
    convolution of stride 1 at h x w has h w (c_in + c_out) + k k c_in c_out / groups (Ma et al., arXiv 1807.11164,
    section 2; Lee et al., arXiv 1904.09730, section 2). With stride s the input map has s s times as many pixels as the
    output map, and all of them count; a padded map counts with its padding if the padding is an operator of its own. A
    linear layer is a 1x1 convolution of one pixel. Biases are ignored.
    """

    multiply_adds: int = 0
    memory_access: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.multiply_adds + other.multiply_adds, self.memory_access + other.memory_access)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.multiply_adds - other.multiply_adds, self.memory_access - other.memory_access)


@dataclass
class Part:
    """A part of a module: its parameters and its cost, summed over all its calls."""

    name: str  # path inside the module
    total: int  # parameters, see count_parameters
    trainable: int
    cost: Cost = Cost()
    shapes: tuple[tuple[int, ...], ...] = ()  # shapes of the maps that its last call returned


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Return total and trainable parameters, counted as in Keras.

    Total: all parameters plus the running mean and variance of BatchNorm (``num_batches_tracked`` is never counted).
    Trainable: parameters with ``requires_grad``. Shared parameters count once.
    """
    parameters = list(module.parameters())
    statistics = [
        buffer.numel()
        for name, buffer in module.named_buffers()
        if name.rsplit('.', 1)[-1] in ('running_mean', 'running_var')
    ]
    total = sum(p.numel() for p in parameters) + sum(statistics)
    return total, sum(p.numel() for p in parameters if p.requires_grad)


def measure(module: nn.Module, *inputs: Tensor) -> tuple[Cost, list[Part]]:
    """Return the cost of a forward pass in evaluation mode, in total and for each part (:func:`parts_of`).

    Functional calls are counted as well. On the meta device (``with torch.device('meta')`` around the creation of
    module and inputs) nothing is computed, and a large network takes a fraction of a second. Pass a batch of one for
    the cost of one image.

    Args:
        module: the module; it is left unchanged.
        *inputs: arguments of its ``forward``, on the device of the module.
    """
    counter = _Counter()
    parts = [Part(name, *count_parameters(part)) for name, part in parts_of(module)]
    modes = {each: each.training for each in module.modules()}
    handles = [
        hook for (_, child), part in zip(parts_of(module), parts, strict=True) for hook in _watch(child, part, counter)
    ]
    try:
        module.eval()
        with torch.no_grad(), counter:
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for each, training in modes.items():
            each.training = training
    return counter.cost, parts


def parts_of(module: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    """Yield a module's direct children in order; a list or dict of modules, which is never called, yields its items."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from parts_of(child, f'{prefix}{name}.')
        else:
            yield prefix + name, child


class _Counter(TorchDispatchMode):
    """Adds up the cost of the operators that run in its context."""

    def __init__(self) -> None:
        super().__init__()
        self.cost = Cost()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet is aten.convolution:
            given, kernel, transposed = args[0], args[1], args[6]
            # Each element given (transposed) or made (else) meets one filter: a slice of the kernel's first dimension.
            self._add((given if transposed else out).numel() * kernel[0].numel(), given, kernel, out)
        elif packet is aten.linear:
            self._add(out.numel() * args[1].shape[1], args[0], args[1], out)
        elif packet in _PRODUCTS:
            first, second = args[_PRODUCTS[packet] :][:2]
            self._add(out.numel() * first.shape[-1], first, second, out)
        return out

    def _add(self, multiply_adds: int, *tensors: Tensor) -> None:
        self.cost += Cost(multiply_adds, sum(tensor.numel() for tensor in tensors))


def _watch(module: nn.Module, part: Part, counter: _Counter) -> Iterator[Any]:
    """Yield hooks that add to ``part`` the cost counted while ``module`` runs."""
    before = []

    def after(_: nn.Module, __: Any, output: Any) -> None:
        part.cost += counter.cost - before.pop()
        maps = [output] if isinstance(output, Tensor) else output
        part.shapes = tuple(tuple(each.shape) for each in maps if isinstance(each, Tensor))

    yield module.register_forward_pre_hook(lambda *_: before.append(counter.cost))
    yield module.register_forward_hook(after)
