"""Bytes that the operators of a step read and write, for comparison with the rate of copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmcnn.compat.private_names import TorchDispatchMode


class TrafficCounter(TorchDispatchMode):
    """Counts, while it is open, the bytes of all tensors on a device that operators read and write.

    That is what must be moved if no operators are fused and no cache holds the previous output. Views move nothing.

    Args:
        device: type of the device.

    Attributes:
        num_bytes: count so far.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.num_bytes = 0
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = [*_tensors((args, kwargs or {}))]
        made = [*_tensors(found)]
        if not _is_view(given, made):
            if found is None and str(func).split('.')[1].endswith('_'):  # torch._foreach_add_ and similar
                made = [*_tensors(args[:1])]
            self.num_bytes += sum(
                each.numel() * each.element_size() for each in (*given, *made) if each.device.type == self._device
            )
        return found


def _is_view(given: list[Tensor], made: list[Tensor]) -> bool:
    """Return whether all outputs are in the memory of inputs, without being just these."""
    places = {each.untyped_storage().data_ptr() for each in given}
    same = {id(each) for each in given}
    return bool(made) and all(id(each) not in same and each.untyped_storage().data_ptr() in places for each in made)


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict):
        yield from _tensors([*node.values()])
    elif isinstance(node, list | tuple):
        for each in node:
            yield from _tensors(each)


def work_of(step: Any, device: torch.device) -> dict[str, float]:
    """Return what a step computes and moves.

    Args:
        step: called once.
        device: device of the step.

    Returns:
        ``tflop_of_a_step``, floating-point operations of products and convolutions in 10^12, and
        ``traffic_gb_of_a_step`` (:class:`TrafficCounter`) in 10^9 bytes.
    """
    with TrafficCounter(device.type) as traffic, FlopCounterMode(display=False) as operations:
        step()
    return dict(
        tflop_of_a_step=round(operations.get_total_flops() / 1e12, 4),
        traffic_gb_of_a_step=round(traffic.num_bytes / 1e9, 4),
    )
