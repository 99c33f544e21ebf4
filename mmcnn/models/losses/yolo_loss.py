"""The two losses of anchor-based YOLO heads: YOLOv5's means and Darknet's sums over an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.moved import moved_names
from mmcnn.registry import MODELS

from .iou_loss import bbox_iou

if TYPE_CHECKING:
    from mmcnn.models.task_modules import LevelOutput, LevelTargets

__getattr__ = moved_names(__name__)


@MODELS.register_module()
class YOLOMeanLoss(nn.Module):
    """YOLOv5's loss: means over positives and cells, weighted by gains; WongKinYiu trains YOLOv4 with it too.

    Box: mean of 1 - CIoU over a level's positives. Objectness: mean BCE over all slots of a level against the
    positives' CIoU (no gradient, at least 0), weighted by ``level_balance``. Classes: mean BCE over positives and
    classes, times classes / 80; none for one class. Levels are summed. A micro-batch's loss is that times
    ``nominal_batch_size``, whatever its own size: with MMEngine's mean over accumulated micro-batches and over ranks
    the step does not depend on how 64 images are cut up.

    Args:
        box_gain, obj_gain, cls_gain: 0.05, 0.6, 0.3 for YOLOv4; 0.05, 1.0, 0.5 for YOLOv5 n and s.
        level_balance: weights of the levels' objectness, fine to coarse.
        obj_by_area: multiplies ``obj_gain`` by the input's area / 640**2 (YOLOv5).
        nominal_batch_size: see above.
    """

    def __init__(
        self,
        box_gain: float = 0.05,
        obj_gain: float = 0.6,
        cls_gain: float = 0.3,
        level_balance: Sequence[float] = (4.0, 1.0, 0.4),
        obj_by_area: bool = False,
        nominal_batch_size: int = 64,
    ) -> None:
        super().__init__()
        self.box_gain = box_gain
        self.obj_gain = obj_gain
        self.cls_gain = cls_gain
        self.level_balance = tuple(level_balance)
        self.obj_by_area = obj_by_area
        self.nominal_batch_size = nominal_batch_size

    def forward(
        self, outputs: Sequence[LevelOutput], targets: Sequence[LevelTargets], ground_truth: object
    ) -> dict[str, Tensor]:
        """Losses of a batch: ``loss_bbox``, ``loss_obj`` and ``loss_cls``, scalars.

        Every logit is in the graph of every batch, so that no parameter lacks a gradient (DDP needs that).

        Args:
            outputs, targets: one for each level.
            ground_truth: not used here; see :class:`DarknetLoss`.

        Raises:
            ValueError: ``level_balance`` does not have one weight a level.
        """
        if len(self.level_balance) != len(outputs):
            raise ValueError(f'level_balance={self.level_balance} has to have {len(outputs)} weights, one a level')
        box = obj = cls = outputs[0].maps.new_zeros(())
        for output, positives, balance in zip(outputs, targets, self.level_balance, strict=True):
            classes = output.maps.shape[-1] - 5
            wanted = torch.zeros_like(output.maps[..., 4])
            box = box + output.maps[..., :4].sum() * 0
            cls = cls + output.maps[..., 5:].sum() * 0
            if len(positives.image):
                boxes, logits = output.at(positives)
                iou = bbox_iou(boxes / output.stride, positives.boxes / output.stride)
                box = box + (1 - iou).mean()
                slots = (positives.image, positives.anchor, positives.row, positives.column)
                wanted[slots] = iou.detach().clamp(min=0)[_last_of_slot(slots, wanted.shape)]
                if classes > 1:
                    labels = F.one_hot(positives.labels, classes).to(logits.dtype)
                    cls = cls + F.binary_cross_entropy_with_logits(logits, labels)
            obj = obj + balance * F.binary_cross_entropy_with_logits(output.maps[..., 4], wanted)

        first = outputs[0]
        area = first.maps.shape[2] * first.maps.shape[3] * first.stride**2
        obj_gain = self.obj_gain * (area / 640**2 if self.obj_by_area else 1)
        cls_gain = self.cls_gain * (first.maps.shape[-1] - 5) / 80
        scale = self.nominal_batch_size
        return dict(
            loss_bbox=scale * self.box_gain * box, loss_obj=scale * obj_gain * obj, loss_cls=scale * cls_gain * cls
        )


@MODELS.register_module()
class DarknetLoss(nn.Module):
    """YOLOv4's loss after Darknet's yolov4.cfg, in a form for autograd: sums over an image, mean over the images.

    Box: 1 - CIoU. Objectness: BCE, 1 at positives, 0 elsewhere; a slot that is not positive is left out where its box
    has an IoU over ``ignore_iou`` with some object *and* some class probability is over ``ignore_probability``.
    Classes: BCE of each class at positives. Objects that share a slot share its box loss (Darknet divides by the number
    of their classes, here by the number of objects), and each sets its own class.

    Darknet writes box gradients without the derivatives of the decoding, so that its ``iou_normalizer`` 0.07 means
    nothing to autograd: ``box_gain`` takes its place (1 to 7 pull about as hard).

    Args:
        box_gain: weight of the box term. ignore_iou, ignore_probability: see above.
    """

    def __init__(self, box_gain: float = 4.0, ignore_iou: float = 0.7, ignore_probability: float = 0.25) -> None:
        super().__init__()
        self.box_gain = box_gain
        self.ignore_iou = ignore_iou
        self.ignore_probability = ignore_probability

    def forward(
        self, outputs: Sequence[LevelOutput], targets: Sequence[LevelTargets], ground_truth: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Losses of a batch: ``loss_bbox``, ``loss_obj`` and ``loss_cls``, scalars.

        Args:
            outputs, targets: one for each level.
            ground_truth: of each image (M_i, 4) boxes as centre x, centre y, width, height in pixels.
        """
        box = obj = cls = outputs[0].maps.new_zeros(())
        for output, positives in zip(outputs, targets, strict=True):
            counted = ~self._ignored(output, ground_truth)
            wanted = torch.zeros_like(output.maps[..., 4])
            slots = (positives.image, positives.anchor, positives.row, positives.column)
            wanted[slots] = 1
            counted[slots] = True
            losses = F.binary_cross_entropy_with_logits(output.maps[..., 4], wanted, reduction='none')
            obj = obj + (losses * counted).sum()
            box = box + output.maps[..., :4].sum() * 0

            if len(positives.image):
                boxes, _ = output.at(positives)
                sharing = torch.zeros_like(wanted).index_put_(slots, boxes.new_ones(()), accumulate=True)
                box = box + ((1 - bbox_iou(boxes, positives.boxes)) / sharing[slots]).sum()
            classes = torch.zeros_like(output.maps[..., 5:])
            classes[(*slots, positives.labels)] = 1
            losses = F.binary_cross_entropy_with_logits(output.maps[..., 5:], classes, reduction='none')
            cls = cls + (losses * wanted[..., None]).sum()

        images = len(ground_truth)
        return dict(loss_bbox=self.box_gain * box / images, loss_obj=obj / images, loss_cls=cls / images)

    @torch.no_grad()
    def _ignored(self, output: LevelOutput, ground_truth: Sequence[Tensor]) -> Tensor:
        """(N, A, H, W) of bool: slots that answer for some object though no target of it."""
        boxes = output.boxes()
        ignored = output.maps[..., 5:].amax(-1).sigmoid() > self.ignore_probability
        for i, objects in enumerate(ground_truth):
            sure = ignored[i]
            if len(objects) == 0:
                sure.zero_()
            elif sure.any():
                iou = bbox_overlaps(bbox_cxcywh_to_xyxy(boxes[i][sure]), bbox_cxcywh_to_xyxy(objects))
                sure[sure.clone()] = iou.amax(-1) > self.ignore_iou
        return ignored


def _last_of_slot(slots: tuple[Tensor, ...], shape: Sequence[int]) -> Tensor:
    """Of each positive, the number of the last one in its slot (P,).

    Of several that are written to one slot, a GPU keeps any: all of them have to bring the same value.
    """
    flat = slots[0]
    for index, side in zip(slots[1:], shape[1:], strict=True):
        flat = flat * side + index
    numbers = torch.arange(len(flat), device=flat.device)
    return flat.new_zeros(math.prod(shape)).scatter_reduce_(0, flat, numbers, 'amax')[flat]
