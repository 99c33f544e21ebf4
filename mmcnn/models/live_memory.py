"""Bytes of the tensors that are alive at once in a forward and a backward pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import TorchDispatchMode


def training_peak(build: Callable[[], nn.Module], batch_size: int, img_size: int) -> int:
    """Most bytes that a forward and a backward pass in training mode hold at once, besides the network and its images.

    That is what the gradient needs, the gradients themselves and what is computed in between. Sizes are all that
    counts, so nothing is computed: the network lives on the meta device, and the number is the same on every machine.
    Workspace that an operator takes and gives back by itself is not in it.

    Args:
        build: makes a network that takes (N, 3, H, W) and gives a tensor, or several.
        batch_size: N.
        img_size: H and W, pixels.
    """
    with torch.device('meta'):
        network = build().train()
        images = torch.empty(batch_size, 3, img_size, img_size)

        def step() -> None:
            _total(network(images)).backward()

        return peak_bytes(step, (*network.parameters(), *network.buffers(), images))


def _total(maps: Tensor | Iterable[Tensor]) -> Tensor:
    """What is derived; in a function of its own, so that no map outlives it."""
    return sum(each.sum() for each in ([maps] if isinstance(maps, Tensor) else maps))


def peak_bytes(call: Callable[[], object], held: Iterable[Tensor] = ()) -> int:
    """Most bytes of tensors that are alive at once while a call runs, each memory once.

    Args:
        call: what is measured.
        held: tensors of before it, which do not count.
    """
    with _Live(held) as live:
        call()
    return live.peak


class _Live(TorchDispatchMode):
    """Follows the memory of all tensors that operators give while it is on, until it is freed."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        # A storage is known by its Python object, which lives as long as its memory does, or as it is kept here.
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
