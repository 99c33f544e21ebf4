"""The output of a backbone or a neck: declared by our parts, measured for others."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from mmcnn.errors import UsageError
from mmcnn.models.wiring.parts import class_of, ours
from mmcnn.registry import MODELS

#: Side of the square image that foreign parts are probed with; a multiple of every usual stride.
PROBE_SIZE = 512
#: Side of the image for parts that need actual values, which the meta device does not have, and run on the CPU.
CPU_SIZE = 256
#: Measured outputs of foreign parts; the same one is probed several times before a run.
_FOUND: dict[tuple, Maps] = {}
#: Relative tolerance for a stride to count as a power of two: 300 pixels have 38 positions of stride 8.
TOLERANCE = 0.1


class Maps(NamedTuple):
    """The output of a backbone or a neck: one entry per map, in its order."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]  # pixels


def probe(cfg: dict, inputs: Maps | None = None, side: int | None = None, one_map: bool = False) -> Maps:
    """Build a backbone, or a neck on ``inputs``, on the meta device and return its output channels and strides.

    This takes no memory and no weights, and leaves the random state unchanged. Our own parts declare their output: a
    backbone has ``out_channels`` and ``out_strides``, a neck ``out_channels`` and ``strides_of``. Any other part is run
    once, on the CPU and with a smaller image if it does not work on the meta device, and the result is cached.

    Args:
        cfg: MMEngine config of the part; weights named by its ``init_cfg`` are not loaded.
        inputs: for a neck, the output of its backbone.
        side: side of the image in pixels, if the strides depend on it (SSD's last maps); None: any.
        one_map: whether the part takes its only input directly, not as a tuple.

    Raises:
        UsageError: a foreign part cannot be built or does not run.
    """
    cfg = ConfigDict(copy.deepcopy(dict(cfg)))
    with DefaultScope.overwrite_default_scope('mmdet'):
        if ours(cfg) and (said := _said(cfg, inputs)) is not None:
            return said
        key = (class_of(cfg), repr(cfg), inputs, side, one_map)
        if key in _FOUND:
            return _FOUND[key]
        try:
            try:
                found = _forward(cfg, inputs, side or PROBE_SIZE, 'meta', one_map)
            except (RuntimeError, NotImplementedError):  # some operators have no kernel for the meta device
                found = _forward(cfg, inputs, side or CPU_SIZE, 'cpu', one_map)
            _FOUND[key] = found
            return found
        except (RuntimeError, NotImplementedError) as error:
            kind = 'backbone' if inputs is None else 'neck'
            raise UsageError(f'{kind} {cfg.type} does not run on {_described(inputs)}: {_line(error)}') from error
        except (AssertionError, IndexError) as error:  # MMDetection's parts reject arguments this way
            hint = (
                "; the out_indices of MMDetection's backbones are stage numbers, (1, 2, 3) for strides 8 to 32 in "
                'its ResNet'
                if inputs is None
                else f', on {_described(inputs)}'
            )
            raise UsageError(f'{cfg.type} does not accept {dict(cfg)} ({_line(error) or "assertion"}){hint}') from error


def nearest_stride(stride: float) -> int:
    """Return a stride in whole pixels: the power of two within a tenth of it, otherwise the nearest integer."""
    power = 2 ** round(math.log2(stride))
    return power if abs(stride - power) <= TOLERANCE * power else round(stride)


def _said(cfg: ConfigDict, inputs: Maps | None) -> Maps | None:
    """Return the output that one of our parts declares; None: it declares none, or none for these inputs.

    On the meta device the first forward pass makes PyTorch import SymPy and its compiler, which takes a second.
    """
    neck = inputs is not None
    if neck and not hasattr(class_of(cfg), 'strides_of'):
        return None
    with torch.device('meta'):
        part = MODELS.build(cfg)
    if neck:
        strides = part.strides_of(inputs.strides) if part.in_channels == inputs.channels else None
    else:
        strides = getattr(part, 'out_strides', None)
    return (
        None if strides is None or not hasattr(part, 'out_channels') else Maps(tuple(part.out_channels), tuple(strides))
    )


def _forward(cfg: ConfigDict, inputs: Maps | None, side: int, device: str, one_map: bool) -> Maps:
    with torch.device(device), torch.no_grad(), torch.random.fork_rng(devices=[]):
        part = MMDET_MODELS.build(cfg)
        part.eval()  # returns None in some of MMDetection's backbones
        given = _input(cfg, inputs, side)
        outputs = part(given[0] if one_map else given)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    return Maps(tuple(o.shape[1] for o in outputs), tuple(nearest_stride(side / o.shape[-1]) for o in outputs))


def _input(cfg: ConfigDict, inputs: Maps | None, side: int) -> torch.Tensor | tuple[torch.Tensor, ...]:
    if inputs is None:
        return torch.zeros(1, cfg.get('in_channels', 3), side, side)
    return tuple(torch.zeros(1, c, *[math.ceil(side / s)] * 2) for c, s in zip(*inputs, strict=True))


def _described(inputs: Maps | None) -> str:
    if inputs is None:
        return 'an image'
    return f'maps of {list(inputs.channels)} channels and strides {list(inputs.strides)}'


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else ''


def levels_of(kind: dict, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the ``out_indices`` for which a backbone of MMDetection has maps of these strides; None: it lacks some."""
    for count in range(8, 0, -1):
        indices = tuple(range(count))
        try:
            found = probe(dict(kind, out_indices=indices)).strides
        except (UsageError, KeyError, TypeError, ValueError, AttributeError):
            continue  # it has fewer stages
        last_at = dict(zip(found, indices, strict=True))
        return tuple(last_at[s] for s in strides) if set(strides) <= set(last_at) else None
    return None
