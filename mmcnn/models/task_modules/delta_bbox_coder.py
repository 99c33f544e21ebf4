"""Faster R-CNN's box coder with MMDetection's results, without waits for the device, for several images at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder as _DeltaXYWHBBoxCoder
from mmdet.structures.bbox import BaseBoxes, get_box_tensor
from torch import Tensor

from mmcnn.registry import TASK_UTILS

from .host_device import copied

#: Bound of the logarithm of the factor by which a coder scales a side, the default of MMDetection's ``decode``.
MAX_LOG_RATIO = abs(math.log(16 / 1000))


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder(_DeltaXYWHBBoxCoder):
    """MMDetection's ``DeltaXYWHBBoxCoder`` without the two waits for the device in each call of ``encode``.

    The arguments are those of MMDetection's.
    """

    def encode(self, bboxes: Tensor | BaseBoxes, gt_bboxes: Tensor | BaseBoxes) -> Tensor:
        """Return normalised dx, dy, dw, dh (K, 4) from boxes (K, 4) to their objects (K, 4), xyxy pixels."""
        boxes, objects = get_box_tensor(bboxes).float(), get_box_tensor(gt_bboxes).float()
        (centre, size), (goal, goal_size) = (_centre_and_size(each) for each in (boxes, objects))
        deltas = torch.cat([(goal - centre) / size, (goal_size / size).log()], dim=-1)
        means, stds = (copied(each, like=deltas) for each in (self.means, self.stds))
        return deltas.sub_(means).div_(stds)


def decoded(coder: _DeltaXYWHBBoxCoder, boxes: Tensor, deltas: Tensor, limits: Tensor) -> Tensor:
    """Return what ``coder.decode`` computes, with the image sizes given as a tensor.

    Args:
        coder: MMDetection's or ours.
        boxes: (..., 4) anchors or RoIs, xyxy pixels.
        deltas: (..., 4) dx, dy, dw, dh, normalised.
        limits: (..., 2) width and height of the image in pixels.

    Returns:
        (..., 4) xyxy pixels.
    """
    deltas = deltas * copied(coder.stds, like=deltas) + copied(coder.means, like=deltas)
    centre, size = _centre_and_size(boxes)
    shift, ratio = size * deltas[..., :2], deltas[..., 2:]
    if coder.add_ctr_clamp:
        shift, ratio = shift.clamp(-coder.ctr_clamp, coder.ctr_clamp), ratio.clamp(max=MAX_LOG_RATIO)
    else:
        ratio = ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    centre, half = centre + shift, size * ratio.exp() * 0.5
    corners = torch.cat([centre - half, centre + half], dim=-1)
    return torch.minimum(corners.clamp(min=0), torch.cat([limits, limits], -1)) if coder.clip_border else corners


def decodes_together(coder: Any) -> bool:
    """Return whether :func:`decoded` computes the same as a coder's own ``decode``."""
    return type(coder) in (DeltaXYWHBBoxCoder, _DeltaXYWHBBoxCoder) and not coder.use_box_type


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) * 0.5, boxes[..., 2:] - boxes[..., :2]
