"""What MMDetection's heads do image by image when they predict, for a batch at once: the same boxes, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.ops import nms_of_images

from .host_device import copied

#: Entries of ``test_cfg.nms`` that are known here, and from how many boxes on MMCV goes class by class by default.
_NMS_ENTRIES = {'type', 'iou_threshold', 'class_agnostic', 'split_thr'}
_SPLIT_THR = 10000


def suppresses_together(nms: Mapping[str, Any] | None) -> bool:
    """Whether an ``nms`` of a ``test_cfg`` is greedy suppression by IoU, which is all that is computed here."""
    return nms is not None and nms.get('type', 'nms') == 'nms' and 'iou_threshold' in nms and set(nms) <= _NMS_ENTRIES


def kept_of_images(
    boxes: Tensor, scores: Tensor, groups: Tensor, counts: Sequence[int], nms: Mapping[str, Any], max_keep: int | None
) -> list[Tensor]:
    """What MMCV's ``batched_nms`` keeps of each image.

    Groups are told apart by MMCV's own shift of their boxes, so that the shift rounds as it does there.

    Args:
        boxes: (K, 4) xyxy, of one image after the other.
        scores, groups: (K,); groups are classes or levels.
        counts: how many of the boxes are of each image.
        nms: see :func:`suppresses_together`.
        max_keep: the first so many of each image; None: all.

    Returns:
        for each image, indices into ``boxes`` in descending order of score.
    """
    split = [count >= nms.get('split_thr', _SPLIT_THR) for count in counts]
    image = image_of(counts, like=groups)
    if not nms.get('class_agnostic', False):
        largest = boxes.new_full((len(counts),), -torch.inf).scatter_reduce(0, image, boxes.amax(1), 'amax')
        boxes = boxes + (groups.to(boxes) * (largest[image] + 1))[:, None]
    # Where MMCV does not go group by group, boxes with negative corners may reach into the group before theirs.
    apart = groups * copied(split, like=groups)[image] if any(split) else torch.zeros_like(groups)
    return nms_of_images(boxes, scores, apart, counts, nms['iou_threshold'], max_keep=max_keep)


def image_of(counts: Sequence[int], like: Tensor) -> Tensor:
    """(K,) index of the image of each box; the host does not wait for the copy.

    Args:
        counts: how many of the boxes are of each image.
        like: gives the device.
    """
    images = torch.arange(len(counts)).repeat_interleave(torch.tensor([*counts], dtype=torch.long))
    return images.to(like.device, non_blocking=True)


def factors_of(metas: Sequence[dict], like: Tensor) -> Tensor:
    """(N, 4) what the corners of boxes are multiplied with, to be in the original images."""
    inverse = [[1 / side for side in meta['scale_factor']] for meta in metas]
    return copied([factors * 2 for factors in inverse], like=like)


def limits_of(metas: Sequence[dict], like: Tensor) -> Tensor:
    """(N, 2) widths and heights of images at the network's input, in pixels."""
    return copied([[meta['img_shape'][1], meta['img_shape'][0]] for meta in metas], like=like)


def large_enough(boxes: Tensor, least: float) -> Tensor:
    """Which boxes (..., 4) have sides of more than so many pixels."""
    return ((boxes[..., 2:] - boxes[..., :2]) > least).all(-1)


def packed(boxes: Tensor, scores: Tensor, labels: Tensor, kept: Sequence[Tensor]) -> list[InstanceData]:
    """The boxes of each image that are kept, by their indices."""
    every, counts = torch.cat([*kept]), [len(each) for each in kept]
    parts = zip(*(each[every].split(counts) for each in (boxes, scores, labels)), strict=True)
    return [InstanceData(bboxes=b, scores=s, labels=c) for b, s, c in parts]
