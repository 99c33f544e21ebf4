"""The positives of all levels of a head, joined so that a loss needs as few operators as for one level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmcnn.models.task_modules import LevelOutput, LevelTargets


class Positives(NamedTuple):
    """P positives, ordered by level. Slots are numbered consecutively across all levels."""

    boxes: Tensor  # (P, 4) predicted boxes
    wanted: Tensor  # (P, 4) boxes of the objects to predict
    logits: Tensor  # (P, classes)
    labels: Tensor  # (P,)
    slots: Tensor  # (P,) numbers of the slots; if there is no positive, one past the last slot
    valid: Tensor | None  # (P,) bool: which of them are positives; None: all
    per_level: list[int]  # how many of the P belong to each level
    num_slots: int  # total over all levels and images

    @classmethod
    def of(cls, outputs: Sequence[LevelOutput], targets: Sequence[LevelTargets], in_cells: bool) -> Positives:
        """Join the positives of all levels, with boxes in cells of their level or in pixels."""
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
        """Return the objects' classes as (P, classes), 0 or 1; a label that is not a class gives a row of zeros."""
        classes = torch.arange(self.logits.shape[1], device=self.labels.device)
        return (self.labels[:, None] == classes).to(self.logits.dtype)

    def per_slot(self, values: Tensor | float, outputs: Sequence[LevelOutput]) -> list[Tensor]:
        """Return the target objectness of all slots, (N, A, H, W) of each level: 0 where there is no positive.

        Args:
            values: values of the positives, one for all or (P,); those of the same slot have to be equal, because a GPU
                keeps an arbitrary one.
            outputs: outputs of the levels, for their shapes.
        """
        # Entries without a positive write to the last element, which is cut off.
        every = self.logits.new_zeros(self.num_slots + 1).scatter_(0, self.slots, values)[:-1]
        shapes = [output.maps.shape[:4] for output in outputs]
        return [part.view(shape) for part, shape in zip(every.split([*map(math.prod, shapes)]), shapes, strict=True)]


def occurrences(keys: Tensor) -> Tensor:
    """Return how often each of the keys (P,) occurs."""
    ordered = keys.sort().values
    return torch.searchsorted(ordered, keys, right=True) - torch.searchsorted(ordered, keys)


def last_of(keys: Tensor) -> Tensor:
    """Return, for each of the keys (P,), the position of the last equal one."""
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
