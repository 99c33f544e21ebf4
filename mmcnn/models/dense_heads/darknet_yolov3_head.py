"""YOLOv3's head for images that are preprocessed as in Darknet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.registry import MODELS

from .placement import placed
from .yolov3_head import YOLOV3Head


@MODELS.register_module()
class DarknetYOLOV3Head(YOLOV3Head):
    """YOLOv3's head for images that are padded on all sides, with boxes clipped to the image.

    Sizes that overflow need :class:`~mmcnn.models.task_modules.DarknetBBoxCoder`. NMS precedes the conversion of boxes
    to the original image, as in Darknet; IoU is the same in both.
    """

    def predict_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_img_metas: Sequence[dict],
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Return the detections of each image, best first.

        Args:
            pred_maps: logits (N, 3 * (5 + classes), H, W) of each level, coarse to fine.
            batch_img_metas: for each image ``img_shape``; with ``rescale`` also ``ori_shape``, ``scale_factor`` (w, h)
                and, after a letterbox, ``pad_param`` (top, left).
            cfg: replaces ``test_cfg``.
            rescale: return boxes in the original image instead of the network's input.
            with_nms: suppress overlapping boxes.

        Returns:
            For each image ``bboxes`` (K, 4) xyxy pixels, clipped to the image, ``scores`` (K,) and ``labels`` (K,).
        """
        results = super().predict_by_feat(pred_maps, batch_img_metas, cfg, rescale=False, with_nms=with_nms)
        counts = [len(found) for found in results]
        boxes = placed(torch.cat([found.bboxes for found in results]), counts, batch_img_metas, rescale)
        for found, of_image in zip(results, boxes.split(counts), strict=True):
            found.bboxes = of_image
        return results
