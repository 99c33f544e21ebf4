"""A batch comes to the device in few copies, and the host waits for none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.structures.bbox import BaseBoxes
from mmengine.structures import BaseDataElement
from torch import Tensor

#: Bytes up to which a tensor travels with others of its type: boxes and labels do, images do not.
SMALL = 1 << 16


def sent(data: Any, device: torch.device, non_blocking: bool = True) -> Any:
    """What a data loader gives, on a device.

    Small tensors, such as boxes and labels, travel together, one copy for each type of number; the others on their own.
    They are the same to the last bit.

    Args:
        data: Tensors, boxes and samples in any nesting of mappings, tuples and lists; whatever else there is stays as
            it is, and so do lists inside of a sample, as by its own ``to``.
        device: Where to.
        non_blocking: Whether the host goes on while the copies run. Those that come from pageable memory may wait
            all the same: ``pin_memory=True`` of the data loader pins images; small tensors are pinned here.
    """
    away = {id(tensor): tensor for tensor in _tensors(data) if _away(tensor, device)}
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


def _away(tensor: Tensor, device: torch.device) -> bool:
    """Whether a tensor is not on a device; of one without a number, it may be any."""
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
    """``data`` with its tensors replaced; new containers and samples, as MMEngine's ``cast_data`` makes them."""
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
