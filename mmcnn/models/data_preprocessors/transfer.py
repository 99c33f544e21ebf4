"""Copying of a batch to the device in few transfers, none of which the host waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.structures.bbox import BaseBoxes
from mmengine.structures import BaseDataElement
from torch import Tensor

#: Bytes up to which a tensor is copied together with others of its type: boxes and labels are, images are not.
SMALL = 1 << 16


def sent(data: Any, device: torch.device, non_blocking: bool = True) -> Any:
    """Return the output of a data loader on a device.

    Small tensors, such as boxes and labels, are copied together, one transfer per dtype; large ones individually.
    Values are bit-identical. From CPU to CPU, samples are passed on as they are; else they are copies.

    Args:
        data: tensors, boxes and samples, nested in mappings, tuples and lists; anything else is left as it is, and so
            are lists inside a sample, as by its own ``to``.
        device: target device.
        non_blocking: whether the host continues while the copies run. Copies from pageable memory may wait anyway:
            ``pin_memory=True`` of the data loader pins images; small tensors are pinned here.
    """
    away = {id(tensor): tensor for tensor in _tensors(data) if _away(tensor, device)}
    if not away and device.type == 'cpu':
        return _in_new_containers(data)
    groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
    moved: dict[int, Tensor] = {}
    for key, tensor in away.items():
        if tensor.device.type == 'cpu' and tensor.layout is torch.strided and tensor.nbytes <= SMALL:
            groups[tensor.dtype].append(tensor)
        else:
            moved[key] = tensor.to(device, non_blocking=non_blocking)
    for tensors in groups.values():
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        if device.type == 'cuda':
            flat = flat.pin_memory()
        parts = flat.to(device, non_blocking=non_blocking).split([tensor.numel() for tensor in tensors])
        moved |= {id(tensor): part.view(tensor.shape) for tensor, part in zip(tensors, parts, strict=True)}
    return _put_together(data, moved, device)


def _in_new_containers(data: Any) -> Any:
    """Return the same tensors and samples in new mappings and lists: a copy of a sample takes longer than its boxes."""
    if isinstance(data, Mapping):
        return {key: _in_new_containers(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_in_new_containers(value) for value in data]
    return data


def _away(tensor: Tensor, device: torch.device) -> bool:
    """Return whether a tensor is on another device; a device without an index matches any index."""
    return tensor.device.type != device.type or device.index not in (None, tensor.device.index)


def _tensors(data: Any) -> Iterator[Tensor]:
    match data:
        case Tensor():
            yield data
        case BaseBoxes():
            yield data.tensor
        case BaseDataElement() | Mapping():
            for value in data.values():
                yield from _tensors(value)
        case Sequence() if not isinstance(data, (str, bytes)):
            for value in data:
                yield from _tensors(value)


def _put_together(data: Any, moved: dict[int, Tensor], device: torch.device) -> Any:
    """Rebuild ``data`` with its tensors replaced, in new containers and samples, like MMEngine's ``cast_data``."""
    match data:
        case Tensor():
            return moved.get(id(data), data)
        case BaseBoxes():
            return type(data)(moved.get(id(data.tensor), data.tensor), clone=False)
        case BaseDataElement():
            sample = data.new()
            for name, value in data.items():
                if hasattr(value, 'to'):
                    known = isinstance(value, (Tensor, BaseBoxes, BaseDataElement))
                    value = _put_together(value, moved, device) if known else value.to(device)
                    sample.set_data({name: value})
            return sample
        case Mapping():
            return {key: _put_together(value, moved, device) for key, value in data.items()}
        case str() | bytes():
            return data
        case Sequence():
            values = [_put_together(value, moved, device) for value in data]
            return type(data)(*values) if hasattr(data, '_fields') else type(data)(values)
    return data
