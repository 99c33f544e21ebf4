"""The two losses of anchor-based YOLO heads: YOLOv5's means and Darknet's sums over an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.compat.moved import moved_names
from mmcnn.models.task_modules import host_device
from mmcnn.registry import MODELS

from .iou_loss import bbox_iou
from .positives import Positives, last_of, occurrences

if TYPE_CHECKING:
    from mmcnn.models.task_modules import LevelOutput, LevelTargets

__getattr__ = moved_names(__name__)

#: Pairs of a box and an object whose IoU is computed at once, which keeps memory below half a GB.
MAX_PAIRS = 1 << 23


@MODELS.register_module()
class YOLOMeanLoss(nn.Module):
    """YOLOv5's loss: means over positives and cells, weighted by gains; WongKinYiu trains YOLOv4 with it as well.

    Box: mean of 1 - CIoU over a level's positives. Objectness: mean BCE over all slots of a level against the
    positives' CIoU (no gradient, at least 0), weighted by ``level_balance``. Classes: mean BCE over positives and
    classes, times classes / 80; none if there is only one class. Levels are summed. The loss of a micro-batch is this
    times ``nominal_batch_size``, whatever its own size: with MMEngine's mean over accumulated micro-batches and over
    ranks, a step does not depend on how 64 images are divided.

    Args:
        box_gain: weight of the box loss; 0.05 for YOLOv4 and for YOLOv5 n and s.
        obj_gain: weight of the objectness loss; 0.6 for YOLOv4, 1.0 for YOLOv5 n and s.
        cls_gain: weight of the class loss; 0.3 for YOLOv4, 0.5 for YOLOv5 n and s.
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
        """Return the losses of a batch: ``loss_bbox``, ``loss_obj`` and ``loss_cls``, scalars.

        Every slot has an objectness loss, so that every parameter has a gradient in every batch, as DDP requires.

        Args:
            outputs: one for each level.
            targets: one for each level.
            ground_truth: not used here; see :class:`DarknetLoss`.

        Raises:
            ValueError: ``level_balance`` does not have one weight per level.
        """
        if len(self.level_balance) != len(outputs):
            raise ValueError(f'level_balance={self.level_balance} must have {len(outputs)} weights, one per level')
        positives = Positives.of(outputs, targets, in_cells=True)
        iou = bbox_iou(positives.boxes, positives.wanted)
        weights = _per_level_mean(positives)
        box = (weights * (1 - iou)).sum()
        # If several positives share a slot, the last one's value counts.
        wanted = positives.per_slot(iou.detach().clamp(min=0)[last_of(positives.slots)], outputs)
        obj = outputs[0].maps.new_zeros(())
        for output, level, balance in zip(outputs, wanted, self.level_balance, strict=True):
            obj = obj + balance * F.binary_cross_entropy_with_logits(output.maps[..., 4], level)
        classes = positives.logits.shape[1]
        cls = _class_loss(positives, positives.one_hot(), weights / classes) if classes > 1 else obj.new_zeros(())

        first = outputs[0]
        area = first.maps.shape[2] * first.maps.shape[3] * first.stride**2
        obj_gain = self.obj_gain * (area / 640**2 if self.obj_by_area else 1)
        cls_gain = self.cls_gain * classes / 80
        scale = self.nominal_batch_size
        return dict(
            loss_bbox=scale * self.box_gain * box, loss_obj=scale * obj_gain * obj, loss_cls=scale * cls_gain * cls
        )

    forward.reads_valid = True  # reads ``valid`` of the targets; a head passes only positives to other losses


@MODELS.register_module()
class DarknetLoss(nn.Module):
    """YOLOv4's loss as in Darknet's yolov4.cfg, in a form for autograd: sums over an image, mean over the images.

    Box: 1 - CIoU. Objectness: BCE, 1 at positives, 0 elsewhere; a slot that is not positive is ignored if its box has
    an IoU over ``ignore_iou`` with some object *and* some class probability is over ``ignore_probability``. Classes:
    BCE of each class at positives. Objects that share a slot share its box loss (Darknet divides by the number of their
    classes, this loss by the number of objects), and each sets its own class.

    Darknet computes box gradients without the derivatives of the decoding, so that its ``iou_normalizer`` of 0.07 has
    no equivalent in autograd: ``box_gain`` takes its place (1 to 7 have about the same effect).

    Args:
        box_gain: weight of the box loss.
        ignore_iou: see above.
        ignore_probability: see above.
    """

    def __init__(self, box_gain: float = 4.0, ignore_iou: float = 0.7, ignore_probability: float = 0.25) -> None:
        super().__init__()
        self.box_gain = box_gain
        self.ignore_iou = ignore_iou
        self.ignore_probability = ignore_probability

    def forward(
        self, outputs: Sequence[LevelOutput], targets: Sequence[LevelTargets], ground_truth: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch: ``loss_bbox``, ``loss_obj`` and ``loss_cls``, scalars.

        Args:
            outputs: one for each level.
            targets: one for each level.
            ground_truth: for each image (M_i, 4) boxes as centre x, centre y, width, height in pixels.
        """
        positives = Positives.of(outputs, targets, in_cells=False)
        sharing = occurrences(positives.slots).to(positives.boxes.dtype)
        weights = 1 / sharing if positives.valid is None else positives.valid / sharing
        box = (weights * (1 - bbox_iou(positives.boxes, positives.wanted))).sum()

        obj = outputs[0].maps.new_zeros(())
        taken = positives.per_slot(1.0, outputs)
        for output, wanted, ignored in zip(outputs, taken, self._ignored(outputs, ground_truth), strict=True):
            counted = (~ignored | wanted.bool()).to(wanted.dtype)
            obj = obj + F.binary_cross_entropy_with_logits(output.maps[..., 4], wanted, counted, reduction='sum')

        # BCE is linear in its target: the mean over the objects of a slot includes each of their classes once.
        classes = positives.logits.shape[1]
        same = occurrences(positives.slots * classes + positives.labels)
        cls = _class_loss(positives, positives.one_hot() * (sharing / same)[:, None], weights)

        images = len(ground_truth)
        return dict(loss_bbox=self.box_gain * box / images, loss_obj=obj / images, loss_cls=cls / images)

    forward.reads_valid = True

    @torch.no_grad()
    def _ignored(self, outputs: Sequence[LevelOutput], ground_truth: Sequence[Tensor]) -> list[Tensor]:
        """Return (N, A, H, W) bool for each level: slots that detect some object although they are not its target."""
        objects = _padded(ground_truth)
        found = []
        for output in outputs:
            sure = output.maps[..., 5:].amax(-1).sigmoid() > self.ignore_probability
            boxes = output.boxes()
            if host_device.selects_freely(sure):
                image, *slot = sure.nonzero(as_tuple=True)
                boxes = boxes[image, *slot][:, None]
                sure[image, *slot] = _best_iou(boxes, objects[image])[:, 0] > self.ignore_iou
                found.append(sure)
            else:
                best = _best_iou(boxes.flatten(1, 3), objects).view_as(sure)
                found.append(sure & (best > self.ignore_iou))
        return found


def _per_level_mean(positives: Positives) -> Tensor:
    """Return weights (P,) whose weighted sum is the sum of the levels' means over their positives."""
    like = positives.boxes
    every = like.new_ones(len(like)) if positives.valid is None else positives.valid.to(like.dtype)
    return torch.cat([level / level.sum().clamp(min=1) for level in every.split(positives.per_level)])


def _class_loss(positives: Positives, wanted: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum over the positives of the BCE of all classes."""
    return F.binary_cross_entropy_with_logits(positives.logits, wanted, weights[:, None], reduction='sum')


def _padded(objects: Sequence[Tensor]) -> Tensor:
    """Stack boxes (M_i, 4) of each image into (N, M, 4), padded with boxes of zero size."""
    longest = max(map(len, objects), default=0)
    rows, first = [], 0
    for boxes in objects:
        rows.append([*range(first, first + len(boxes)), *[-1] * (longest - len(boxes))])
        first += len(boxes)
    every = torch.cat([*objects, objects[0].new_zeros(1, 4)])
    return every[host_device.copied(rows, like=every, dtype=torch.long)]


def _best_iou(boxes: Tensor, objects: Tensor) -> Tensor:
    """Return the largest IoU (N, S) of each of the boxes (N, S, 4) with the objects (N, M, 4); 0 if there are none."""
    best = boxes.new_zeros(boxes.shape[:2])
    at_once = max(MAX_PAIRS // max(best.numel(), 1), 1)
    for some in objects[:, None].split(at_once, dim=2):
        if some.shape[2]:
            best = torch.max(best, bbox_iou(boxes[:, :, None], some, 'iou').amax(-1))
    return best
