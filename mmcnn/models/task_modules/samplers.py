"""MMDetection's sampler with the same samples and random numbers, with one wait for the device instead of up to six.

The host has to know the numbers of positive and of negative priors; everything else is computed on the device.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import RandomSampler as _RandomSampler
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import BaseBoxes, cat_boxes
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.registry import TASK_UTILS


@TASK_UTILS.register_module()
class RandomSampler(_RandomSampler):
    """MMDetection's ``RandomSampler`` with its arguments."""

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData, **kwargs: Any
    ) -> SamplingResult:
        """Draw positive and negative priors of an image; with ``add_gt_as_proposals`` its objects are priors too."""
        priors, boxes = pred_instances.priors, gt_instances.bboxes
        flags = priors.new_zeros(len(priors), dtype=torch.uint8)
        if self.add_gt_as_proposals and len(boxes):
            both = isinstance(boxes, BaseBoxes) and isinstance(priors, BaseBoxes)
            priors = cat_boxes([boxes.convert_to(type(priors)) if both else boxes, priors], dim=0)
            assign_result.add_gt_(gt_instances.labels)
            flags = torch.cat([flags.new_ones(len(boxes)), flags])
        kinds = _Kinds(assign_result.gt_inds)
        positive = _drawn(kinds.positive, int(self.num * self.pos_fraction))
        wanted = self.num - len(positive)
        if self.neg_pos_ub >= 0:
            wanted = min(wanted, int(self.neg_pos_ub * max(1, len(positive))))
        pos_inds, neg_inds = kinds.indices(positive, _drawn(kinds.negative, wanted))
        return SamplingResult(pos_inds, neg_inds, priors, boxes, assign_result, flags)


class _Kinds:
    """The numbers of positive and negative priors, and the position of the n-th of each.

    Args:
        numbers: (N,) for each prior the number of its object, counted from 1; 0: negative, -1: neither.
    """

    def __init__(self, numbers: Tensor) -> None:
        self._counts = torch.stack([numbers > 0, numbers == 0]).cumsum(dim=1)
        self.positive, self.negative = self._counts[:, -1].tolist() if numbers.numel() else (0, 0)

    def indices(self, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Return the indices of priors, both in order, from ranks on the host, counted from 0."""
        ranks = torch.cat([positive, negative]).to(self._counts.device, non_blocking=True) + 1
        parts = ranks.split([len(positive), len(negative)])
        pos_inds, neg_inds = (torch.searchsorted(*each) for each in zip(self._counts, parts, strict=True))
        return pos_inds, neg_inds


def _drawn(count: int, most: int) -> Tensor:
    """Return ranks on the host, in order: all ``count`` of them, or ``most`` drawn at random."""
    return torch.arange(count) if count <= most else torch.randperm(count)[:most].sort().values
