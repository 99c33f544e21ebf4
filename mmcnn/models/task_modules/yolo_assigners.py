"""Which anchors in which cells answer for which objects: YOLOv5's ratio rule and Darknet's shape-IoU rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmcnn.registry import TASK_UTILS


class LevelTargets(NamedTuple):
    """Positives of one level, P of them. An object may own several, and several objects may share one slot."""

    image: Tensor  # (P,) index in the batch
    anchor: Tensor  # (P,) index of the level's anchor
    row: Tensor  # (P,)
    column: Tensor  # (P,)
    boxes: Tensor  # (P, 4) centre x, centre y, width, height of the object, pixels
    labels: Tensor  # (P,) class


@TASK_UTILS.register_module()
class RatioAssigner:
    """YOLOv5's assignment, also WongKinYiu's for YOLOv4.

    An anchor takes an object whose width and height are both less than ``ratio`` times larger or smaller, in the
    object's own cell and in the nearest horizontal and the nearest vertical neighbour. No best-anchor rule and no
    ignored region: an object may match no anchor or all of them.

    Args:
        ratio: bound of the size ratio, strict.
        offset: a neighbour is taken where the centre lies within this part of a cell from it; 0: own cell only.
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
        """Positives of every level.

        Args:
            boxes: (M, 4) centre x, centre y, width, height in pixels, all images of the batch.
            labels: (M,) classes. image: (M,) index of each object's image.
            anchors: of each level (A, 2) width and height, pixels.
            strides: of each level, pixels. sizes: of each level's map, (H, W).
        """
        return [self._level(boxes, labels, image, *level) for level in zip(anchors, strides, sizes, strict=True)]

    def _level(
        self, boxes: Tensor, labels: Tensor, image: Tensor, anchors: Tensor, stride: int, size: tuple[int, int]
    ) -> LevelTargets:
        quotient = boxes[None, :, 2:] / anchors[:, None]  # (A, M, 2)
        matched = torch.max(quotient, 1 / quotient).amax(-1) < self.ratio
        anchor, which = matched.nonzero(as_tuple=True)
        grid = boxes[which, :2] / stride  # (K, 2) x, y in cells
        limit = grid.new_tensor([size[1], size[0]])

        # From the near side a neighbour exists past the first cell, from the far side before the last.
        mirrored = limit - grid
        before = (grid % 1 < self.offset) & (grid > 1)
        after = (mirrored % 1 < self.offset) & (mirrored > 1)
        own = torch.ones_like(before[:, 0])
        chosen, k = torch.stack([own, *before.T, *after.T]).nonzero(as_tuple=True)
        shift = grid.new_tensor([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]]) * self.offset
        cell = (grid[k] - shift[chosen]).long()
        cell = torch.min(cell.clamp(min=0), limit.long() - 1)
        which, anchor = which[k], anchor[k]
        return LevelTargets(image[which], anchor, cell[:, 1], cell[:, 0], boxes[which], labels[which])


@TASK_UTILS.register_module()
class ShapeIoUAssigner:
    """Darknet's assignment for YOLOv4 (yolov4.cfg): by IoU of shapes, in the object's own cell.

    An object is taken by the anchor, of all levels, that is most like it in shape, and by every other anchor whose
    shape IoU (both centred on one point) is over ``iou_threshold``.

    Args:
        iou_threshold: 0.213 in yolov4.cfg; 1 leaves the best anchor alone (YOLOv3).
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
        """Positives of every level; arguments as :meth:`RatioAssigner.assign`."""
        every = torch.cat(list(anchors))
        overlap = torch.min(boxes[None, :, 2:], every[:, None]).prod(-1)  # (all anchors, M)
        iou = overlap / (boxes[None, :, 2:].prod(-1) + every.prod(-1)[:, None] - overlap)
        positive = iou > self.iou_threshold
        if len(boxes):
            positive[iou.argmax(0), torch.arange(len(boxes), device=boxes.device)] = True

        targets, first = [], 0
        for level_anchors, stride, (height, width) in zip(anchors, strides, sizes, strict=True):
            anchor, which = positive[first : first + len(level_anchors)].nonzero(as_tuple=True)
            first += len(level_anchors)
            cell = (boxes[which, :2] / stride).long()
            column, row = cell[:, 0].clamp(0, width - 1), cell[:, 1].clamp(0, height - 1)
            targets.append(LevelTargets(image[which], anchor, row, column, boxes[which], labels[which]))
        return targets
