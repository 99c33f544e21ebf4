"""Assignment of objects to anchors and cells: YOLOv5's ratio rule and Darknet's shape-IoU rule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mmcnn.registry import TASK_UTILS

from . import host_device


class LevelTargets(NamedTuple):
    """The P positives of one level. An object may have several, and several objects may share one slot.

    On a GPU, where their number cannot be known without waiting, these are all pairs of an anchor and an object that
    might be positives; ``valid`` tells which of them are. The others have an arbitrary box and a cell inside the map.
    """

    image: Tensor  # (P,) index in the batch
    anchor: Tensor  # (P,) index of the level's anchor
    row: Tensor  # (P,)
    column: Tensor  # (P,)
    boxes: Tensor  # (P, 4) centre x, centre y, width, height of the object, pixels
    labels: Tensor  # (P,) class
    valid: Tensor | None = None  # (P,) bool: which of them are positives; None: all

    def positives(self) -> LevelTargets:
        """Return only the valid positives; on a GPU the host waits once for this."""
        if self.valid is None:
            return self
        which = self.valid.nonzero().view(-1)
        return LevelTargets(*(values[which] for values in self[:-1]))


@TASK_UTILS.register_module()
class RatioAssigner:
    """The assignment of YOLOv5, and of WongKinYiu's YOLOv4.

    An anchor matches an object if both sides differ by less than a factor of ``ratio``; it is assigned in the object's
    own cell and in the nearest horizontal and vertical neighbours. There is no best-anchor rule and no ignored region:
    an object may match no anchor or all of them.

    Args:
        ratio: bound of the size ratio, exclusive.
        offset: a neighbour is used if the centre is within this fraction of a cell from it; 0: own cell only.
    """

    def __init__(self, ratio: float = 4.0, offset: float = 0.5) -> None:
        self.ratio = ratio
        self.offset = offset

    def assign(
        self,
        boxes: Tensor,
        labels: Tensor,
        image: Tensor,
        anchors: Sequence[Tensor],
        strides: Sequence[int],
        sizes: Sequence[tuple[int, int]],
    ) -> list[LevelTargets]:
        """Return the positives of every level.

        Args:
            boxes: (M, 4) centre x, centre y, width, height in pixels, of all images of the batch.
            labels: (M,) classes.
            image: (M,) index of each object's image.
            anchors: for each level (A, 2) width and height in pixels.
            strides: stride of each level in pixels.
            sizes: (H, W) of each level's map.
        """
        quotient = boxes[:, 2:] / torch.cat(list(anchors))[:, None]  # (all anchors, M, 2)
        matched = torch.max(quotient, 1 / quotient).amax(-1) < self.ratio
        stride, limit = _grids(boxes, anchors, strides, sizes)
        grid = boxes[:, :2] / stride  # (all anchors, M, 2) x, y in cells

        # A neighbour on the near side exists unless this is the first cell, on the far side unless it is the last.
        mirrored = limit - grid
        before = (grid % 1 < self.offset) & (grid > 1)
        after = (mirrored % 1 < self.offset) & (mirrored > 1)
        own = torch.ones_like(matched)
        chosen = torch.stack([own, *before.unbind(-1), *after.unbind(-1)], dim=1)  # (all anchors, 5, M)
        o = self.offset
        shift = host_device.copied([[[0, 0]], [[o, 0]], [[0, o]], [[-o, 0]], [[0, -o]]], like=grid)
        cell = (grid[:, None] - shift).long()
        return _targets(chosen & matched[:, None], cell, limit, boxes, labels, image, anchors)


@TASK_UTILS.register_module()
class ShapeIoUAssigner:
    """Darknet's assignment for YOLOv4 (yolov4.cfg): by IoU of shapes, in the object's own cell.

    An object is assigned to the anchor, of all levels, with the most similar shape, and to every other anchor whose
    shape IoU (both centred on the same point) is over ``iou_threshold``.

    Args:
        iou_threshold: 0.213 in yolov4.cfg; with 1 only the best anchor is assigned (YOLOv3).
    """

    def __init__(self, iou_threshold: float = 0.213) -> None:
        self.iou_threshold = iou_threshold

    def assign(
        self,
        boxes: Tensor,
        labels: Tensor,
        image: Tensor,
        anchors: Sequence[Tensor],
        strides: Sequence[int],
        sizes: Sequence[tuple[int, int]],
    ) -> list[LevelTargets]:
        """Return the positives of every level; arguments as in :meth:`RatioAssigner.assign`."""
        every = torch.cat(list(anchors))
        overlap = torch.min(boxes[None, :, 2:], every[:, None]).prod(-1)  # (all anchors, M)
        iou = overlap / (boxes[None, :, 2:].prod(-1) + every.prod(-1)[:, None] - overlap)
        best = torch.zeros_like(iou, dtype=torch.bool).scatter_(0, iou.argmax(0, keepdim=True), True)
        stride, limit = _grids(boxes, anchors, strides, sizes)
        cell = (boxes[:, :2] / stride).long()[:, None]
        return _targets(((iou > self.iou_threshold) | best)[:, None], cell, limit, boxes, labels, image, anchors)


def _grids(
    boxes: Tensor, anchors: Sequence[Tensor], strides: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Return the stride (all anchors, 1, 1) and the columns and rows (all anchors, 1, 2) of each anchor's map."""
    levels = zip(anchors, strides, sizes, strict=True)
    rows = [(stride, width, height) for level, stride, (height, width) in levels for _ in level]
    numbers = host_device.copied(rows, like=boxes)[:, None]
    return numbers[..., :1], numbers[..., 1:]


def _targets(
    valid: Tensor,
    cell: Tensor,
    limit: Tensor,
    boxes: Tensor,
    labels: Tensor,
    image: Tensor,
    anchors: Sequence[Tensor],
) -> list[LevelTargets]:
    """Return the positives of every level.

    Args:
        valid: (all anchors, K, M) bool: which anchors are assigned to which objects in which of K cells.
        cell: (all anchors, K, M, 2) column and row, inside the map or beside it.
        limit: (all anchors, 1, 2) columns and rows.
        boxes: (M, 4) of the objects.
        labels: (M,) of the objects.
        image: (M,) of the objects.
        anchors: for each level (A, 2).
    """
    cells, objects = valid.shape[1:]
    cell = torch.min(cell.clamp(min=0), limit.long()[:, None] - 1).flatten(0, 2)
    of_anchor = max(cells * objects, 1)
    if host_device.selects_freely(valid):
        index = valid.flatten().nonzero().squeeze(1)
        taken = torch.bincount(index // of_anchor, minlength=len(valid)).tolist()
    else:
        index = torch.arange(valid.numel(), device=valid.device)
        taken = [cells * objects] * len(valid)
    which = index % max(objects, 1)
    column, row = cell[index].unbind(-1)
    found = [image[which], index // of_anchor, row, column, boxes[which], labels[which]]
    if not host_device.selects_freely(valid):
        # The box of an object that is not assigned must not make a loss undefined.
        found[4] = torch.where(valid.flatten()[:, None], found[4], 1)
        found.append(valid.flatten())

    ends = list(accumulate(map(len, anchors), initial=0))
    parts = zip(*(each.split([sum(taken[a:b]) for a, b in pairwise(ends)]) for each in found), strict=True)
    levels = [LevelTargets(*part) for part in parts]
    return [level._replace(anchor=level.anchor - first) for level, first in zip(levels, ends, strict=False)]
