"""MMDetection's YOLOv3 head, computing targets and detections of all images of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import YOLOV3Head as _YOLOV3Head
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.models.utils import images_to_levels
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from mmcnn.models.task_modules import host_device
from mmcnn.models.task_modules.images_together import (
    factors_of,
    kept_of_images,
    large_enough,
    packed,
    suppresses_together,
)
from mmcnn.registry import MODELS


@MODELS.register_module()
class YOLOV3Head(_YOLOV3Head):
    """MMDetection's ``YOLOV3Head``: same arguments, weights, losses and detections.

    The host waits for a GPU a few times per batch; in MMDetection it waits a few times per image. Boxes are computed in
    float32 even if the maps are of half precision, in which corners are off by pixels. A ``test_cfg`` or a sampler of a
    kind that YOLOv3 does not use is left to MMDetection's methods.
    """

    def predict_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_img_metas: Sequence[dict],
        cfg: Mapping[str, Any] | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Return the detections of each image, best first; without NMS all candidates.

        Args:
            pred_maps: logits (N, 3 * (5 + classes), H, W) of each level, coarse to fine.
            batch_img_metas: with ``rescale``, ``scale_factor`` (w, h) of each image.
            cfg: replaces ``test_cfg``.
            rescale: return boxes in the original image instead of the network's input.
            with_nms: suppress overlapping boxes.

        Returns:
            For each image ``bboxes`` (K, 4) xyxy pixels, ``scores`` (K,) and ``labels`` (K,).
        """
        cfg = self.test_cfg if cfg is None else cfg
        cuts = cfg.get('nms_pre', -1) > 0 and cfg.get('max_per_img', -1) >= 0
        if not (cuts and suppresses_together(cfg.get('nms'))):
            return super().predict_by_feat(pred_maps, batch_img_metas, cfg, rescale, with_nms)
        flat, boxes = self._decoded(pred_maps)
        factors = factors_of(batch_img_metas, like=boxes) if rescale else boxes.new_ones(len(boxes), 4)
        # On the CPU, one image at a time makes the best use of the cache; for a GPU the host waits once for all images.
        at_once = 1 if host_device.selects_freely(boxes) else len(boxes)
        found: list[InstanceData] = []
        for part in zip(flat.split(at_once), boxes.split(at_once), factors.split(at_once), strict=True):
            *candidates, counts = self._candidates(*part, cfg)
            if with_nms:
                kept = kept_of_images(*candidates, counts, cfg['nms'], cfg['max_per_img'])
            else:
                kept = torch.arange(sum(counts), device=boxes.device).split(counts)
            found += packed(*candidates, kept)
        return found

    def get_targets(
        self,
        anchor_list: Sequence[Sequence[Tensor]],
        responsible_flag_list: Sequence[Sequence[Tensor]],
        batch_gt_instances: Sequence[InstanceData],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return targets (N, B, 5 + classes) and negatives (N, B), 0 or 1, of each level.

        Args:
            anchor_list: for each image, (B, 4) of each level.
            responsible_flag_list: for each image, (B,) of each level: whether the cell contains the centre of an
                object.
            batch_gt_instances: for each image ``bboxes`` (M, 4) xyxy pixels and ``labels`` (M,).
        """
        # On the CPU it is cheaper to compute those of the positives only.
        if type(self.sampler) is not PseudoSampler or host_device.selects_freely(anchor_list[0][0]):
            return super().get_targets(anchor_list, responsible_flag_list, batch_gt_instances)
        images = zip(anchor_list, responsible_flag_list, batch_gt_instances, strict=True)
        of_images = [self._targets(*each) for each in images]
        sizes = [len(anchors) for anchors in anchor_list[0]]
        targets, negatives = (images_to_levels(list(each), sizes) for each in zip(*of_images, strict=True))
        return targets, negatives

    def loss_by_feat(self, pred_maps: Sequence[Tensor], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return MMDetection's losses of a batch."""
        host_device.keep_anchors_on(pred_maps[0].device, self.prior_generator)
        return super().loss_by_feat(pred_maps, *args, **kwargs)

    def _decoded(self, pred_maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (N, B, 5 + classes) and boxes (N, B, 4) of all anchors, xyxy pixels of the network's input."""
        sizes, device = [maps.shape[-2:] for maps in pred_maps], pred_maps[0].device
        host_device.keep_anchors_on(device, self.prior_generator)
        anchors = self.prior_generator.grid_priors(sizes, device=device)
        flat = [maps.permute(0, 2, 3, 1).reshape(len(maps), -1, self.num_attrib) for maps in pred_maps]
        strides = [
            torch.full((len(each), 1), float(stride), dtype=each.dtype, device=device)
            for each, stride in zip(anchors, self.featmap_strides, strict=True)
        ]
        logits = torch.cat(flat, dim=1)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        offsets = torch.cat([logits[..., :2].sigmoid(), logits[..., 2:4]], dim=-1)
        return logits, self.bbox_coder.decode(torch.cat(anchors), offsets, torch.cat(strides))

    @staticmethod
    def _candidates(
        logits: Tensor, boxes: Tensor, factors: Tensor, cfg: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Return boxes (K, 4), scores (K,) and labels (K,) before NMS, by class score, and the number of each image.

        The host waits for a GPU three times, whatever the batch size: for the sizes of two selections and for the
        counts.
        """
        objectness = logits[..., 4].sigmoid()
        least = cfg.get('conf_thr', -1)
        image, place = (objectness >= (least if least > 0 else -1)).nonzero(as_tuple=True)
        scores = logits[image, place][:, 5:].sigmoid()  # in rows, as MMDetection does: the CPU rounds them alike
        index, labels = (scores > cfg.get('score_thr', 0)).nonzero(as_tuple=True)
        scores, order = scores[index, labels].sort(descending=True)  # ties in MMDetection's order
        if len(boxes) == 1:  # a single image
            scores, order = scores[: cfg['nms_pre']], order[: cfg['nms_pre']]
        image, place, labels = image[index[order]], place[index[order]], labels[order]
        image, order = image.sort(stable=True)
        scores, place, labels = scores[order], place[order], labels[order]
        images = torch.arange(len(boxes), device=boxes.device)
        rank = torch.arange(len(image), device=boxes.device) - torch.searchsorted(image, images)[image]
        stays, boxes = rank < cfg['nms_pre'], boxes[image, place] * factors[image]
        if (smallest := cfg.get('min_bbox_size', -1)) >= 0:
            stays = stays & large_enough(boxes, smallest)
        counts = ((image == images[:, None]) & stays).sum(1).tolist()
        which = host_device.places(stays, sum(counts))
        scores = scores * objectness[image, place]
        return boxes[which], scores[which], labels[which], counts

    def _targets(
        self, anchors: Sequence[Tensor], responsible: Sequence[Tensor], objects: InstanceData
    ) -> tuple[Tensor, Tensor]:
        """Return targets (B, 5 + classes) and negatives (B,) of an image; no size depends on values."""
        strides = [each.new_full((len(each),), float(s)) for each, s in zip(anchors, self.featmap_strides, strict=True)]
        priors = torch.cat([*anchors])
        assigned = self.assigner.assign(
            InstanceData(priors=priors, responsible_flags=torch.cat([*responsible])), objects
        )
        targets = priors.new_zeros(len(priors), self.num_attrib)
        positive = assigned.gt_inds > 0
        if len(objects):
            number = (assigned.gt_inds - 1).clamp(min=0)
            boxes = self.bbox_coder.encode(priors, objects.bboxes[number], torch.cat(strides))
            classes = F.one_hot(objects.labels, num_classes=self.num_classes).float()
            if self.one_hot_smoother != 0:
                classes = classes * (1 - self.one_hot_smoother) + self.one_hot_smoother / self.num_classes
            of_positives = torch.cat([boxes, torch.ones_like(boxes[:, :1]), classes[number]], dim=1)
            targets = torch.where(positive[:, None], of_positives, targets)
        return targets, (assigned.gt_inds == 0).to(torch.uint8)
