"""Prediction steps that MMDetection's heads do image by image, for a whole batch: the same boxes in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.ops import nms_of_images

from .host_device import copied

#: Entries of ``test_cfg.nms`` supported here, and the number of boxes from which MMCV splits by class by default.
_NMS_ENTRIES = {'type', 'iou_threshold', 'class_agnostic', 'split_thr'}
_SPLIT_THR = 10000


def suppresses_together(nms: Mapping[str, Any] | None) -> bool:
    """Return whether the ``nms`` of a ``test_cfg`` is greedy suppression by IoU, the only kind supported here."""
    return nms is not None and nms.get('type', 'nms') == 'nms' and 'iou_threshold' in nms and set(nms) <= _NMS_ENTRIES


def kept_of_images(
    boxes: Tensor, scores: Tensor, groups: Tensor, counts: Sequence[int], nms: Mapping[str, Any], max_keep: int | None
) -> list[Tensor]:
    """Return the indices that MMCV's ``batched_nms`` keeps for each image.

    Groups are separated by shifting their boxes as MMCV does, so that the rounding is the same.

    Args:
        boxes: (K, 4) xyxy, one image after the other.
        scores: (K,).
        groups: (K,) classes or levels.
        counts: number of boxes of each image.
        nms: see :func:`suppresses_together`.
        max_keep: maximum per image; None: all.

    Returns:
        For each image, indices into ``boxes`` in descending order of score.
    """
    split = [count >= nms.get('split_thr', _SPLIT_THR) for count in counts]
    image = image_of(counts, like=groups)
    if not nms.get('class_agnostic', False):
        largest = boxes.new_full((len(counts),), -torch.inf).scatter_reduce(0, image, boxes.amax(1), 'amax')
        boxes = boxes + (groups.to(boxes) * (largest[image] + 1))[:, None]
    # If MMCV does not process groups separately, boxes with negative corners may overlap the group before theirs.
    apart = groups * copied(split, like=groups)[image] if any(split) else torch.zeros_like(groups)
    return nms_of_images(boxes, scores, apart, counts, nms['iou_threshold'], max_keep=max_keep)


def image_of(counts: Sequence[int], like: Tensor) -> Tensor:
    """Return (K,) the index of the image of each box; the host does not wait for the copy.

    Args:
        counts: number of boxes of each image.
        like: provides the device.
    """
    images = torch.arange(len(counts)).repeat_interleave(torch.tensor([*counts], dtype=torch.long))
    return images.to(like.device, non_blocking=True)


def factors_of(metas: Sequence[dict], like: Tensor) -> Tensor:
    """Return (N, 4) factors that convert the corners of boxes to the original images."""
    inverse = [[1 / side for side in meta['scale_factor']] for meta in metas]
    return copied([factors * 2 for factors in inverse], like=like)


def limits_of(metas: Sequence[dict], like: Tensor) -> Tensor:
    """Return (N, 2) widths and heights of images at the network's input, in pixels."""
    return copied([[meta['img_shape'][1], meta['img_shape'][0]] for meta in metas], like=like)


def large_enough(boxes: Tensor, least: float) -> Tensor:
    """Return which of the boxes (..., 4) have both sides longer than ``least`` pixels."""
    return ((boxes[..., 2:] - boxes[..., :2]) > least).all(-1)


def packed(boxes: Tensor, scores: Tensor, labels: Tensor, kept: Sequence[Tensor]) -> list[InstanceData]:
    """Return the boxes of each image that are kept, by their indices."""
    every, counts = torch.cat([*kept]), [len(each) for each in kept]
    parts = zip(*(each[every].split(counts) for each in (boxes, scores, labels)), strict=True)
    return [InstanceData(bboxes=b, scores=s, labels=c) for b, s, c in parts]
