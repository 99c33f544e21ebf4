"""The IoU family for aligned pairs of boxes, with the gradient that YOLOv4 and YOLOv5 train with.

MMDetection's CIoULoss disables the aspect term at IoU <= 0.5 and clamps; the YOLO recipes do neither.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KINDS = ('iou', 'giou', 'diou', 'ciou')


def bbox_iou(boxes: Tensor, targets: Tensor, kind: str = 'ciou', eps: float = 1e-7) -> Tensor:
    """Return IoU, GIoU (arXiv 1902.09630), DIoU or CIoU (arXiv 1911.08287) of pairs of boxes.

    CIoU's trade-off alpha is treated as a constant: no gradient flows through it.

    Args:
        boxes: (..., 4) as centre x, centre y, width, height, in pixels or grid units (not normalised to [0, 1]: the
            gradient of the aspect term grows with 1 / size**2).
        targets: (..., 4), likewise.
        kind: one of ``KINDS``.
        eps: avoids divisions by zero.

    Returns:
        (...,) in float32 or better; at most 1.

    Raises:
        ValueError: ``kind`` is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f'kind={kind!r} must be one of {KINDS}')
    if boxes.dtype in (torch.float16, torch.bfloat16):
        boxes = boxes.float()
    targets = targets.to(boxes.dtype)
    low1, high1 = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    low2, high2 = targets[..., :2] - targets[..., 2:] / 2, targets[..., :2] + targets[..., 2:] / 2
    # A product of two factors instead of prod(), whose gradient waits for the device to report zeros.
    intersection = _area((torch.min(high1, high2) - torch.max(low1, low2)).clamp(min=0))
    union = _area(boxes[..., 2:]) + _area(targets[..., 2:]) - intersection + eps
    iou = intersection / union
    if kind == 'iou':
        return iou

    enclosing = torch.max(high1, high2) - torch.min(low1, low2)
    if kind == 'giou':
        area = _area(enclosing) + eps
        return iou - (area - union) / area

    distance = (targets[..., :2] - boxes[..., :2]).square().sum(-1)
    diou = iou - distance / (enclosing.square().sum(-1) + eps)
    if kind == 'diou':
        return diou

    angle = torch.atan(targets[..., 2] / (targets[..., 3] + eps)) - torch.atan(boxes[..., 2] / (boxes[..., 3] + eps))
    aspect = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        alpha = aspect / (aspect - iou + 1 + eps)
    return diou - alpha * aspect


def _area(sides: Tensor) -> Tensor:
    """Return the products (...,) of two sides (..., 2)."""
    return sides[..., 0] * sides[..., 1]
