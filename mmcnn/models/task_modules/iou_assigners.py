"""MMDetection's assigners by IoU with the same results and without waits for the device."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.assigners import BboxOverlaps2D as _BboxOverlaps2D
from mmdet.models.task_modules.assigners import GridAssigner as _GridAssigner
from mmdet.models.task_modules.assigners import MaxIoUAssigner as _MaxIoUAssigner
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.registry import TASK_UTILS

#: The smallest divisor of an intersection, as in MMDetection.
_EPS = 1e-6


@TASK_UTILS.register_module()
class BboxOverlaps2D(_BboxOverlaps2D):
    """MMDetection's class without the constant that it copies to the device in each call."""

    def __call__(self, bboxes1: Any, bboxes2: Any, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
        """Return IoU (m, n) of boxes (m, 4) and (n, 4), xyxy; other modes, types and pairs are left to MMDetection."""
        one, two = get_box_tensor(bboxes1), get_box_tensor(bboxes2)
        plain = one.dtype == two.dtype == torch.float32 and one.shape[1:] == two.shape[1:] == (4,)
        if mode != 'iou' or is_aligned or self.dtype is not None or not plain:
            return super().__call__(bboxes1, bboxes2, mode, is_aligned)
        least, most = torch.max(one[:, None, :2], two[:, :2]), torch.min(one[:, None, 2:], two[:, 2:])
        width, height = (most - least).clamp(min=0).unbind(2)
        shared = width * height
        areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (one, two)]
        return shared / (areas[0][:, None] + areas[1] - shared).clamp(min=_EPS)


@TASK_UTILS.register_module()
class MaxIoUAssigner(_MaxIoUAssigner):
    """MMDetection's ``MaxIoUAssigner`` for all objects of an image at once.

    MMDetection's reads one or two numbers from the device for each object, and the positions of masks. The arguments
    are those of MMDetection's; ``neg_iou_thr`` may also be a whole number or a list, which MMDetection's ignores.
    """

    def __init__(self, *args: Any, iou_calculator: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, iou_calculator=iou_calculator or dict(type='mmcnn.BboxOverlaps2D'), **kwargs)

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign an object to each prior.

        Args:
            overlaps: (objects, priors) IoU.
            gt_labels: (objects,).
        """
        if 0 in overlaps.shape:
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        highest, best = overlaps.max(dim=0)
        low, high = self.neg_iou_thr if isinstance(self.neg_iou_thr, (tuple, list)) else (0, self.neg_iou_thr)
        numbers = torch.where((highest >= low) & (highest < high), 0, -1)
        numbers = torch.where(highest >= self.pos_iou_thr, best + 1, numbers)
        if self.match_low_quality:
            of_object, where = overlaps.max(dim=1, keepdim=True)
            candidates = _matched(overlaps, of_object, where, self.gt_max_assign_all)
            numbers = _last(candidates & (of_object >= self.min_pos_iou), numbers)
        return _result(numbers, highest, gt_labels, overlaps.size(0))


@TASK_UTILS.register_module()
class GridAssigner(_GridAssigner):
    """MMDetection's ``GridAssigner`` for all objects of an image at once; the arguments are those of MMDetection's."""

    def __init__(self, *args: Any, iou_calculator: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, iou_calculator=iou_calculator or dict(type='mmcnn.BboxOverlaps2D'), **kwargs)

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign an object to each prior.

        Args:
            pred_instances: ``priors`` (N, 4) xyxy pixels, and ``responsible_flags`` (N,): whether a prior's cell
                contains the centre of an object.
            gt_instances: ``bboxes`` (K, 4) and ``labels`` (K,).
            gt_instances_ignore: not used.
            **kwargs: passed on to MMDetection's method where that is used.
        """
        if not len(gt_instances.bboxes) or not len(pred_instances.priors):
            return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
        overlaps = self.iou_calculator(gt_instances.bboxes, pred_instances.priors)
        responsible = pred_instances.responsible_flags.bool()
        highest = overlaps.amax(dim=0)
        if isinstance(self.neg_iou_thr, (tuple, list)):
            negative = (highest > self.neg_iou_thr[0]) & (highest <= self.neg_iou_thr[1])
        else:
            negative = (highest >= 0) & (highest <= self.neg_iou_thr)
        overlaps = overlaps.masked_fill(~responsible, -1.0)
        highest, best = overlaps.max(dim=0)
        numbers = torch.where(negative, 0, -1)
        numbers = torch.where((highest > self.pos_iou_thr) & responsible, best + 1, numbers)
        of_object, where = overlaps.max(dim=1, keepdim=True)
        candidates = _matched(overlaps, of_object, where, self.gt_max_assign_all)
        numbers = _last(candidates & (of_object > self.min_pos_iou) & responsible, numbers)
        return _result(numbers, highest, gt_instances.labels, overlaps.size(0))


def _matched(overlaps: Tensor, of_object: Tensor, where: Tensor, ties: bool) -> Tensor:
    """Return (objects, priors) bool: the prior that an object overlaps most; with ``ties`` all of the maximum."""
    if ties:
        return overlaps == of_object
    return torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, where, True)


def _last(candidates: Tensor, numbers: Tensor) -> Tensor:
    """Return ``numbers`` where each prior with candidate objects gets the last of them, counted from 1."""
    objects = torch.arange(1, len(candidates) + 1, dtype=torch.int32, device=candidates.device)
    last = (candidates * objects[:, None]).amax(dim=0)
    return torch.where(last > 0, last.long(), numbers)


def _result(numbers: Tensor, highest: Tensor, labels: Tensor, count: int) -> AssignResult:
    labels = torch.where(numbers > 0, labels[(numbers - 1).clamp(min=0)].long(), -1)
    return AssignResult(num_gts=count, gt_inds=numbers, max_overlaps=highest, labels=labels)
