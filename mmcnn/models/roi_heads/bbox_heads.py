"""MMDetection's box head of Faster R-CNN, computing the detections of all images of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead as _Shared2FCBBoxHead
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.models.task_modules import host_device
from mmcnn.models.task_modules.delta_bbox_coder import decoded, decodes_together
from mmcnn.models.task_modules.images_together import (
    factors_of,
    image_of,
    kept_of_images,
    limits_of,
    packed,
    suppresses_together,
)
from mmcnn.registry import MODELS


@MODELS.register_module()
class Shared2FCBBoxHead(_Shared2FCBBoxHead):
    """MMDetection's ``Shared2FCBBoxHead``: same arguments, weights, losses and detections.

    The host waits for a GPU twice per batch; in MMDetection it waits several times per image. Boxes are computed in
    float32 even if the maps are of half precision. Predictions without NMS (test-time augmentation), and a
    ``test_cfg``, loss or coder of a kind that Faster R-CNN does not use, are left to MMDetection's methods.
    """

    def predict_by_feat(
        self,
        rois: Sequence[Tensor],
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_img_metas: Sequence[dict],
        rcnn_test_cfg: Mapping[str, Any] | None = None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Return the detections of each image, best first.

        Args:
            rois: for each image (R, 5): its index, and xyxy in pixels of the network's input.
            cls_scores: for each image logits (R, classes + 1), the background last.
            bbox_preds: for each image deltas (R, 4 * classes), or (R, 4) if all classes share them.
            batch_img_metas: for each image ``img_shape``, and with ``rescale`` its ``scale_factor`` (w, h).
            rcnn_test_cfg: ``score_thr``, ``nms`` and ``max_per_img``; None: boxes and scores of all RoIs.
            rescale: return boxes in the original image instead of the network's input.

        Returns:
            For each image ``bboxes`` (K, 4) xyxy pixels, ``scores`` (K,) and ``labels`` (K,).
        """
        whole = all(isinstance(each, Tensor) for each in (*cls_scores, *bbox_preds)) and not self.custom_cls_channels
        cfg = rcnn_test_cfg or {}
        if not (whole and suppresses_together(cfg.get('nms')) and decodes_together(self.bbox_coder)):
            return super().predict_by_feat(rois, cls_scores, bbox_preds, batch_img_metas, rcnn_test_cfg, rescale)
        counts = [len(each) for each in rois]
        corners, logits, deltas = torch.cat([*rois])[:, 1:], torch.cat([*cls_scores]), torch.cat([*bbox_preds])
        precision = torch.promote_types(logits.dtype, torch.float32)
        scores = logits.to(precision).softmax(-1)[:, :-1]
        image = image_of(counts, like=scores)
        chosen = scores > cfg['score_thr']
        totals = torch.zeros(len(counts), dtype=torch.long, device=image.device).index_add(0, image, chosen.sum(1))
        totals = totals.tolist()
        which = host_device.places(chosen.flatten(), sum(totals))
        roi, labels = which // scores.shape[1], which % scores.shape[1]
        image = image[roi]
        deltas = deltas.unflatten(1, (-1, 4))[roi, 0 if self.reg_class_agnostic else labels].to(precision)
        boxes = decoded(self.bbox_coder, corners[roi], deltas, limits_of(batch_img_metas, like=deltas)[image])
        if rescale:
            boxes = boxes * factors_of(batch_img_metas, like=boxes)[image]
        most, scores = cfg.get('max_per_img', -1), scores.flatten()[which]
        kept = kept_of_images(boxes, scores, labels, totals, cfg['nms'], most if most > 0 else None)
        return packed(boxes, scores, labels, kept)
