"""MMDetection's region proposal network for all images of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead as _RPNHead
from mmdet.structures.bbox import get_box_tensor
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

    The host waits for a GPU a few times per batch; in MMDetection it waits several times per image. Proposals are
    computed in float32 even if the maps are of half precision, in which corners beyond 512 px are off by a quarter of a
    pixel (bfloat16: by 2). A ``test_cfg`` or a coder of a kind that Faster R-CNN does not use is left to MMDetection's
    methods.
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
        """Return the proposals of each image, best first.

        Args:
            cls_scores: logits (N, A, H, W) of each level, or (N, 2 A, H, W) with the background.
            bbox_preds: deltas (N, 4 A, H, W) of each level.
            score_factors: None; an RPN has none.
            batch_img_metas: for each image ``img_shape``, and with ``rescale`` its ``scale_factor`` (w, h).
            cfg: replaces ``test_cfg``.
            rescale: return boxes in the original image instead of the network's input.
            with_nms: has to be true.

        Returns:
            For each image ``bboxes`` (K, 4) xyxy pixels, ``scores`` (K,) and ``labels`` (K,), which are 0.
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

    def get_anchors(
        self, featmap_sizes: Sequence[tuple[int, int]], batch_img_metas: Sequence[dict], device: torch.device | str
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Return anchors (B, 4) for each image and level, and whether they are in the padded image (B,), on the host.

        This follows from the sizes alone, so the host needs no device for it. If anchors have to be inside the image
        itself (``allowed_border``), MMDetection's method is used.
        """
        device = torch.device(device)
        host_device.keep_anchors_on(device, self.prior_generator)
        if self.train_cfg['allowed_border'] >= 0:
            return super().get_anchors(featmap_sizes, batch_img_metas, device)
        anchors = self.prior_generator.grid_priors(featmap_sizes, device=device)
        of_shape = {tuple(meta['pad_shape'][:2]): None for meta in batch_img_metas}
        for shape in of_shape:
            of_shape[shape] = self.prior_generator.valid_flags(featmap_sizes, shape, device='cpu')
        flags = [of_shape[tuple(meta['pad_shape'][:2])] for meta in batch_img_metas]
        return [anchors for _ in batch_img_metas], flags

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """Return MMDetection's targets of an image, scattered to all anchors instead of gathered at the valid ones."""
        plain = unmap_outputs and isinstance(flat_anchors, Tensor) and self.train_cfg['allowed_border'] < 0
        if not (plain and valid_flags.any()):
            return super()._get_targets_single(
                flat_anchors, valid_flags, gt_instances, img_meta, gt_instances_ignore, unmap_outputs
            )
        where, anchors = None, flat_anchors
        if not valid_flags.all():
            where = valid_flags.nonzero().view(-1).to(flat_anchors.device, non_blocking=True)
            anchors = flat_anchors[where]
        priors = InstanceData(priors=anchors)
        assigned = self.assigner.assign(priors, gt_instances, gt_instances_ignore)
        sampled = self.sampler.sample(assigned, priors, gt_instances)
        if self.reg_decoded_bbox:
            of_positives = get_box_tensor(sampled.pos_gt_bboxes)
        else:
            of_positives = self.bbox_coder.encode(sampled.pos_priors, sampled.pos_gt_bboxes)
        inds = sampled.pos_inds, sampled.neg_inds
        positive, negative = inds if where is None else (where[each] for each in inds)
        labels = flat_anchors.new_full((len(flat_anchors),), self.num_classes, dtype=torch.long)
        label_weights = flat_anchors.new_zeros(len(flat_anchors), dtype=torch.float)
        targets, weights = (flat_anchors.new_zeros(len(flat_anchors), of_positives.shape[1]) for _ in range(2))
        labels[positive] = sampled.pos_gt_labels
        label_weights[positive] = self.train_cfg['pos_weight'] if self.train_cfg['pos_weight'] > 0 else 1.0
        label_weights[negative] = 1.0
        targets[positive], weights[positive] = of_positives, 1.0
        return labels, label_weights, targets, weights, *inds, sampled

    def _candidates(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor], most: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the best anchors of each level: scores (N, P), deltas (N, P, 4), anchors (N, P, 4) and levels (P,)."""
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
