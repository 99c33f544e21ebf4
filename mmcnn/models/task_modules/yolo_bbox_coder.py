"""Decoding of logits on a grid to boxes in pixels: YOLOv3, v4 and v5 as settings of one coder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.models.task_modules.coders import YOLOBBoxCoder
from torch import Tensor

from mmcnn.registry import TASK_UTILS

from .yolo_assigners import LevelTargets

#: Upper bound of t where exp(t) has no other one: 1e15 anchors exceed every image, and their areas fit float32.
OVERFLOW = math.log(1e15)


@TASK_UTILS.register_module()
class YOLOGridCoder:
    """Decodes t = (tx, ty, tw, th) in cell (cx, cy) of stride s with an anchor (aw, ah) in pixels.

    Centre: ``(c + k * sigmoid(t) - (k - 1) / 2) * s``. Size: ``a * (2 * sigmoid(t))**2`` or ``a * exp(t)``.

    ========  ================================  =========
    recipe    ``scale_xy`` k                    ``size``
    ========  ================================  =========
    YOLOv3    1                                 exp
    YOLOv4    1.2, 1.1, 1.05 (strides 8 to 32)  exp
    YOLOv5    2                                 sigmoid
    ========  ================================  =========

    YOLOv4's training after WongKinYiu uses YOLOv5's row.

    Args:
        scale_xy: k, one number or one for each level.
        size: 'sigmoid' or 'exp'.
        max_exp: bound of tw and th before the exponential, ln(1000 / 16) as in Faster R-CNN's coder; None: none, as in
            Darknet, except for :data:`OVERFLOW`, so that boxes are finite and can be clipped.

    Raises:
        ValueError: ``size`` is unknown.
    """

    def __init__(
        self,
        scale_xy: float | Sequence[float] = 2.0,
        size: str = 'sigmoid',
        max_exp: float | None = 4.135166556742356,
    ) -> None:
        if size not in ('sigmoid', 'exp'):
            raise ValueError(f"size={size!r} is neither 'sigmoid' nor 'exp'")
        self.scale_xy = scale_xy
        self.size = size
        self.max_exp = OVERFLOW if max_exp is None else max_exp

    def decode(self, t: Tensor, cells: Tensor, anchors: Tensor, stride: int, level: int) -> Tensor:
        """Decode logits to boxes.

        Args:
            t: (..., 4) logits.
            cells: (..., 2) column and row of the cell.
            anchors: (..., 2) width and height, pixels.
            stride: of the level, pixels.
            level: index of the level, fine to coarse.

        Returns:
            (..., 4) centre x, centre y, width, height in pixels of the network's input.
        """
        k = self.scale_xy if isinstance(self.scale_xy, (int, float)) else self.scale_xy[level]
        centre = (cells + k * t[..., :2].sigmoid() - (k - 1) / 2) * stride
        if self.size == 'sigmoid':
            size = (2 * t[..., 2:].sigmoid()).square() * anchors
        else:
            size = t[..., 2:].clamp(max=self.max_exp).exp() * anchors
        return torch.cat([centre, size], dim=-1)


@TASK_UTILS.register_module()
class DarknetBBoxCoder(YOLOBBoxCoder):
    """MMDetection's coder for YOLOv3 with sizes that stay finite; MMDetection's overflow to infinity, as Darknet's do.

    Equal to it up to :data:`OVERFLOW`.
    """

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, stride: Tensor | int) -> Tensor:
        """Decode logits to boxes.

        Args:
            bboxes: (..., 4) anchors, xyxy pixels.
            pred_bboxes: (..., 4): x and y behind the sigmoid, logits of width and height.
            stride: pixels.

        Returns:
            (..., 4) xyxy pixels of the network's input.
        """
        finite = torch.cat([pred_bboxes[..., :2], pred_bboxes[..., 2:].clamp(max=OVERFLOW)], dim=-1)
        return super().decode(bboxes, finite, stride)


class LevelOutput(NamedTuple):
    """The output of a head on one level."""

    maps: Tensor  # (N, A, H, W, 5 + classes) logits in float32: x, y, w, h, objectness, classes
    anchors: Tensor  # (A, 2) width and height, pixels
    stride: int  # pixels
    level: int  # index of the level, fine to coarse
    coder: YOLOGridCoder

    def at(self, targets: LevelTargets) -> tuple[Tensor, Tensor]:
        """Return decoded boxes (P, 4) in pixels and class logits (P, classes) of the positives."""
        logits = self.maps[targets.image, targets.anchor, targets.row, targets.column]
        cells = torch.stack([targets.column, targets.row], dim=-1)
        of_box, _, of_classes = logits.split((4, 1, logits.shape[1] - 5), dim=1)
        return self.coder.decode(of_box, cells, self.anchors[targets.anchor], self.stride, self.level), of_classes

    def boxes(self) -> Tensor:
        """Return all decoded boxes (N, A, H, W, 4): centre x, centre y, width, height in pixels."""
        height, width = self.maps.shape[2:4]
        rows, columns = torch.meshgrid(
            torch.arange(height, device=self.maps.device), torch.arange(width, device=self.maps.device), indexing='ij'
        )
        cells = torch.stack([columns, rows], dim=-1)
        anchors = self.anchors[:, None, None]
        return self.coder.decode(self.maps[..., :4], cells, anchors, self.stride, self.level)
