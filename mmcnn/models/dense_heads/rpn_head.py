"""MMDetection's region proposal network, which proposes for all images of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead as _RPNHead
from mmengine.structures import InstanceData
from torch import Tensor

from mmcnn.models.task_modules import host_device
from mmcnn.models.task_modules.delta_bbox_coder import decoded, decodes_together
from mmcnn.models.task_modules.images_together import (
    factors_of,
    kept_of_images,
    large_enough,
    limits_of,
    packed,
    suppresses_together,
)
from mmcnn.registry import MODELS


@MODELS.register_module()
class RPNHead(_RPNHead):
    """MMDetection's ``RPNHead``: same arguments, weights, losses and proposals.

    A GPU is waited for a few times a batch, where MMDetection's waits several times for each image. Proposals are
    computed in float32 where maps are of half precision, in which corners beyond 512 px are off by a quarter of a pixel
    (bfloat16: by 2). A ``test_cfg`` or a coder of another kind than Faster R-CNN's is left to MMDetection's methods.
    """

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        score_factors: Sequence[Tensor] | None = None,
        batch_img_metas: Sequence[dict] | None = None,
        cfg: Mapping[str, Any] | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Proposals of each image, best first.

        Args:
            cls_scores: logits (N, A, H, W) of each level, or (N, 2 A, H, W) with the background.
            bbox_preds: deltas (N, 4 A, H, W) of each level.
            score_factors: None; an RPN has none.
            batch_img_metas: of each image ``img_shape``, and with ``rescale`` its ``scale_factor`` (w, h).
            cfg: in place of ``test_cfg``.
            rescale: boxes in the original image instead of the network's input.
            with_nms: has to be true.

        Returns:
            for each image ``bboxes`` (K, 4) xyxy pixels, ``scores`` (K,) and ``labels`` (K,), which are 0.
        """
        cfg = self.test_cfg if cfg is None else cfg
        host_device.keep_anchors_on(cls_scores[0].device, self.prior_generator)
        ours = with_nms and suppresses_together(cfg.get('nms')) and cfg.get('max_per_img', -1) >= 0
        if not (ours and decodes_together(self.bbox_coder) and self.num_classes == 1):
            return super().predict_by_feat(
                cls_scores, bbox_preds, score_factors, batch_img_metas, cfg, rescale, with_nms
            )
        scores, deltas, anchors, levels = self._candidates(cls_scores, bbox_preds, cfg.get('nms_pre', -1))
        boxes = decoded(self.bbox_coder, anchors, deltas, limits_of(batch_img_metas, like=deltas)[:, None])
        if rescale:
            boxes = boxes * factors_of(batch_img_metas, like=boxes)[:, None]
        counts = [boxes.shape[1]] * len(boxes)
        boxes, scores, levels = boxes.flatten(0, 1), scores.flatten(), levels.repeat(len(boxes))
        if (smallest := cfg.get('min_bbox_size', -1)) >= 0:
            large = large_enough(boxes, smallest)
            counts = large.view(len(counts), -1).sum(1).tolist()
            which = host_device.places(large, sum(counts))
            boxes, scores, levels = boxes[which], scores[which], levels[which]
        kept = kept_of_images(boxes, scores, levels, counts, cfg['nms'], cfg['max_per_img'])
        return packed(boxes, scores, torch.zeros_like(levels), kept)

    def _candidates(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor], most: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best anchors of each level: scores (N, P), deltas (N, P, 4), anchors (N, P, 4) and levels (P,)."""
        precision = torch.promote_types(cls_scores[0].dtype, torch.float32)
        sizes, device = [maps.shape[-2:] for maps in cls_scores], cls_scores[0].device
        grid = self.prior_generator.grid_priors(sizes, dtype=precision, device=device)
        found = []
        for level, (logits, deltas, anchors) in enumerate(zip(cls_scores, bbox_preds, grid, strict=True)):
            n = len(logits)
            logits = logits.detach().permute(0, 2, 3, 1).reshape(n, -1, self.cls_out_channels).to(precision)
            scores = logits.sigmoid()[..., 0] if self.use_sigmoid_cls else logits.softmax(-1)[..., 0]
            deltas = deltas.detach().permute(0, 2, 3, 1).reshape(n, -1, 4).to(precision)
            if 0 < most < scores.shape[1]:
                scores, order = (each[:, :most] for each in scores.sort(dim=1, descending=True))
                deltas, anchors = deltas.gather(1, order[..., None].expand(-1, -1, 4)), anchors[order]
            else:
                anchors = anchors.expand(n, -1, -1)
            found.append((scores, deltas, anchors, torch.full((scores.shape[1],), level, device=device)))
        scores, deltas, anchors, levels = zip(*found, strict=True)
        return torch.cat(scores, 1), torch.cat(deltas, 1), torch.cat(anchors, 1), torch.cat(levels)
