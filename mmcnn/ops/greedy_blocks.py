"""Greedy suppression on a GPU for all images of a batch at once, for :mod:`mmcnn.ops.nms`.

The host does not follow what is suppressed: all images go through blocks of candidates of one size, and within a block
boxes are decided by iteration: a box stays if no box that stays suppresses it. This converges after as many rounds as
the longest chain of suppressors has boxes; whether it has is read at the end, with the numbers of kept boxes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Number of pairs of boxes of all images that are compared together: with few images, blocks are large.
MAX_PAIRS = 1 << 22
BLOCK_SIZES = (64, 512)
#: Rounds within a block that are tried first: chains of boxes that suppress each other are rarely longer.
ROUNDS = 16
#: After this many blocks, twice as many, and so on, the host checks whether all images have enough boxes.
BLOCKS_BEFORE_LOOK = 4


def greedy_blocks(
    boxes: Tensor, labels: Tensor, present: Tensor, threshold: float, offset: int, kind: str, max_keep: int | None
) -> tuple[Tensor, list[int]]:
    """Return the boxes that stay in every image, compared as in :func:`mmcnn.ops.greedy_sweep.sweep`.

    Args:
        boxes: (G, C, 4) float32 corners x1, y1, x2, y2 of G images, each in descending order of score.
        labels: (G, C) integers; only boxes of equal label suppress each other.
        present: (G, C) bool: which are boxes; the others are padding of the rows.
        threshold: see :func:`mmcnn.ops.nms`.
        offset: see :func:`mmcnn.ops.nms`.
        kind: see :func:`mmcnn.ops.nms`.
        max_keep: maximum number of boxes of each image; None: all.

    Returns:
        Indices (G, K) of the boxes that stay, ascending, and their number in each row.
    """
    # A NaN box suppresses nothing: the padding of the rows, and an entry past the last for unused places.
    boxes = torch.where(present[..., None], boxes, math.nan)
    boxes = torch.cat([boxes, boxes.new_full((len(boxes), 1, 4), math.nan)], dim=1)
    labels = torch.cat([labels, labels.new_zeros(len(labels), 1)], dim=1)
    rounds = ROUNDS
    while True:
        blocks = _Blocks(boxes, labels, present, threshold, offset, kind, max_keep)
        settled = blocks.run(rounds)
        *counts, settled = torch.cat([blocks.counts, settled[None]]).tolist()
        if settled:
            return blocks.kept[:, :-1], counts
        rounds *= 4


class _Blocks:
    """One pass over the blocks of all images."""

    def __init__(
        self,
        boxes: Tensor,
        labels: Tensor,
        present: Tensor,
        threshold: float,
        offset: int,
        kind: str,
        max_keep: int | None,
    ) -> None:
        self.boxes, self.labels, self.present = boxes, labels, present
        self.threshold, self.offset, self.kind = threshold, offset, kind
        width, height = self._sides(boxes[..., :2], boxes[..., 2:]).unbind(-1)
        self.areas = width * height
        images, candidates = present.shape
        self.capacity = candidates if max_keep is None else min(max_keep, candidates)
        least, largest = BLOCK_SIZES
        self.block_size = min(max(math.isqrt(MAX_PAIRS // max(images, 1)), least), largest)
        # Indices of the boxes that stay; the last column takes those beyond the capacity.
        self.kept = torch.full((images, self.capacity + 1), candidates, device=boxes.device)
        self.counts = torch.zeros(images, dtype=torch.long, device=boxes.device)

    def run(self, rounds: int) -> Tensor:
        """Decide all boxes; return whether all blocks have converged, 0 or 1."""
        settled, look = self.counts.new_ones(()), BLOCKS_BEFORE_LOOK
        for number, start in enumerate(range(0, self.present.shape[1], self.block_size)):
            if number == look:
                if bool((self.counts >= self.capacity).all()):
                    break
                look *= 2
            places = torch.arange(start, min(start + self.block_size, self.present.shape[1]), device=self.boxes.device)
            places = places.expand(len(self.boxes), -1)
            stays, same = self._decided(places, self._left_over(places, start), rounds)
            settled = settled * same
            self._keep(places, stays)
        return settled

    def _left_over(self, places: Tensor, before: int) -> Tensor:
        """Return which boxes of a block (G, b) are not suppressed by a kept box, among ``before`` decided boxes."""
        alive = self.present.gather(1, places)
        for some in self.kept[:, : min(before, self.capacity)].split(self.block_size, dim=1):
            if some.shape[1]:
                alive = alive & ~self._suppresses(some, places).any(1)
        return alive

    def _decided(self, places: Tensor, alive: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
        """Return which boxes of a block (G, b) stay, and whether that has converged."""
        suppresses = self._suppresses(places, places).triu(1)
        stays, before = alive, alive
        for _ in range(min(rounds, places.shape[1])):
            stays, before = alive > (suppresses & stays[..., None]).any(1), stays  # alive and not suppressed
        settled = (stays == before).all() if rounds < places.shape[1] else alive.new_ones(())
        return stays, settled

    def _keep(self, places: Tensor, stays: Tensor) -> None:
        """Append the indices of the boxes that stay to those that are kept."""
        column = self.counts[:, None] + stays.cumsum(1) - 1
        column = torch.where(stays & (column < self.capacity), column, self.capacity)
        self.kept.scatter_(1, column, places)
        self.counts = (self.counts + stays.sum(1)).clamp(max=self.capacity)

    def _suppresses(self, better: Tensor, worse: Tensor) -> Tensor:
        """Return (G, b, c) bool: whether boxes at indices (G, b) exceed the threshold with those at indices (G, c)."""
        (a1, a2), (b1, b2) = self._corners(better, 2), self._corners(worse, 1)
        # For boxes that do not intersect, the product is 0 or, at infinity, NaN, neither of which exceeds a threshold.
        width, height = self._sides(torch.max(a1, b1), torch.min(a2, b2)).clamp(min=0).unbind(-1)
        intersection = width * height
        area = self.areas.gather(1, better)[:, :, None] + self.areas.gather(1, worse)[:, None]
        criterion = intersection / (area - intersection)
        over = criterion > self.threshold
        if self.kind != 'iou':
            dx, dy = ((a1 + a2 - b1 - b2) / 2).unbind(-1)
            wide, high = self._sides(torch.min(a1, b1), torch.max(a2, b2)).unbind(-1)
            ratio = (dx * dx + dy * dy) / (wide * wide + high * high)
            over &= criterion - (ratio**0.6 if self.kind == 'greedy_diou' else ratio) > self.threshold
        return over & (self.labels.gather(1, better)[:, :, None] == self.labels.gather(1, worse)[:, None])

    def _corners(self, places: Tensor, dim: int) -> tuple[Tensor, ...]:
        """Return upper left and lower right corners (..., 2) of boxes at indices (G, b)."""
        found = self.boxes.gather(1, places[..., None].expand(-1, -1, 4))
        return found.unsqueeze(dim).split(2, dim=-1)

    def _sides(self, upper_left: Tensor, lower_right: Tensor) -> Tensor:
        sides = lower_right - upper_left
        return sides + self.offset if self.offset else sides
