"""Peak memory of the live tensors during a forward and a backward pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import TorchDispatchMode


def training_peak(build: Callable[[], nn.Module], batch_size: int, img_size: int) -> int:
    """Return the most bytes that a training step's passes hold at once, besides the network and its images.

    This includes what the gradient needs, the gradients themselves and intermediate results. It depends on sizes only,
    so nothing is computed: the network is on the meta device, and the number is the same on every machine. Workspace
    that an operator allocates and frees internally is not included.

    Args:
        build: builds a network that maps (N, 3, H, W) to one or several tensors.
        batch_size: N.
        img_size: H and W in pixels.
    """
    with torch.device('meta'):
        network = build().train()
        images = torch.empty(batch_size, 3, img_size, img_size)

        def step() -> None:
            _total(network(images)).backward()

        return peak_bytes(step, (*network.parameters(), *network.buffers(), images))


def _total(maps: Tensor | Iterable[Tensor]) -> Tensor:
    """Return the scalar to differentiate; in a function of its own so that no map outlives it."""
    return sum(each.sum() for each in ([maps] if isinstance(maps, Tensor) else maps))


def peak_bytes(call: Callable[[], object], held: Iterable[Tensor] = ()) -> int:
    """Return the most bytes of tensors that are alive at once while a call runs; shared memory counts once.

    Args:
        call: the function to measure.
        held: tensors that existed before and do not count.
    """
    with _Live(held) as live:
        call()
    return live.peak


class _Live(TorchDispatchMode):
    """Tracks the memory of all tensors that operators return while it is active, until that memory is freed."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        # A storage is identified by its Python object, which lives as long as its memory or is kept alive here.
        self._held = {id(storage): storage for storage in (each.untyped_storage() for each in held)}
        self._alive: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else [out]:
            if isinstance(each, Tensor):
                self._follow(each.untyped_storage())
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._held or key in self._alive:
            return

        def freed(_: object) -> None:
            del self._alive[key]
            self.now -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)
