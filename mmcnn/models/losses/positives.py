"""The positives of all levels of a head together: a loss takes no more operators for three levels than for one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmcnn.models.task_modules import LevelOutput, LevelTargets


class Positives(NamedTuple):
    """P positives, in the order of the levels. Slots of all levels are numbered through, level by level."""

    boxes: Tensor  # (P, 4) predicted boxes
    wanted: Tensor  # (P, 4) boxes of the objects
    logits: Tensor  # (P, classes)
    labels: Tensor  # (P,)
    slots: Tensor  # (P,) numbers of the slots; one past the last slot where there is no positive
    valid: Tensor | None  # (P,) of bool: which are positives; None: all
    per_level: list[int]  # how many of the P are of each level
    num_slots: int  # of all levels and images

    @classmethod
    def of(cls, outputs: Sequence[LevelOutput], targets: Sequence[LevelTargets], in_cells: bool) -> Positives:
        """Those of all levels, with boxes in cells of their level, or in pixels."""
        found = [output.at(level) for output, level in zip(outputs, targets, strict=True)]
        units = [output.stride if in_cells else 1 for output in outputs]
        slots, first = [], 0
        for output, level in zip(outputs, targets, strict=True):
            _, anchors, height, width = output.maps.shape[:4]
            slots.append(((level.image * anchors + level.anchor) * height + level.row) * width + level.column + first)
            first += math.prod(output.maps.shape[:4])
        slots, valid = torch.cat(slots), _valid(targets)
        return cls(
            _joined([boxes for boxes, _ in found], units),
            _joined([level.boxes for level in targets], units),
            torch.cat([logits for _, logits in found]),
            torch.cat([level.labels for level in targets]),
            slots if valid is None else torch.where(valid, slots, first),
            valid,
            [len(level.image) for level in targets],
            first,
        )

    def one_hot(self) -> Tensor:
        """Classes of the objects (P, classes), 0 or 1; a label that is no class is in none."""
        classes = torch.arange(self.logits.shape[1], device=self.labels.device)
        return (self.labels[:, None] == classes).to(self.logits.dtype)

    def per_slot(self, values: Tensor | float, outputs: Sequence[LevelOutput]) -> list[Tensor]:
        """Objectness that is wanted of all slots, (N, A, H, W) of each level: 0 where there is no positive.

        Args:
            values: of the positives, one for all or (P,); those of one slot have to be equal, for a GPU keeps any.
        """
        # Where there is no positive, the last entry is written, which is cut off.
        every = self.logits.new_zeros(self.num_slots + 1).scatter_(0, self.slots, values)[:-1]
        shapes = [output.maps.shape[:4] for output in outputs]
        return [part.view(shape) for part, shape in zip(every.split([*map(math.prod, shapes)]), shapes, strict=True)]


def occurrences(keys: Tensor) -> Tensor:
    """How often each of the keys (P,) is among them."""
    ordered = keys.sort().values
    return torch.searchsorted(ordered, keys, right=True) - torch.searchsorted(ordered, keys)


def last_of(keys: Tensor) -> Tensor:
    """Of each of the keys (P,), the place of the last one that is equal to it."""
    ordered, places = keys.sort(stable=True)
    return places[torch.searchsorted(ordered, keys, right=True) - 1]


def _joined(boxes: Sequence[Tensor], units: Sequence[int]) -> Tensor:
    return torch.cat([each if unit == 1 else each / unit for each, unit in zip(boxes, units, strict=True)])


def _valid(targets: Sequence[LevelTargets]) -> Tensor | None:
    if all(level.valid is None for level in targets):
        return None
    every = [
        torch.ones_like(level.image, dtype=torch.bool) if level.valid is None else level.valid for level in targets
    ]
    return torch.cat(every)
