"""MMDetection's Faster R-CNN with an exportable forward pass: none of its sizes depends on detections.

Its modules compute the maps; anchors, proposals and detections follow ``RPNHead``, ``StandardRoIHead`` and ``BBoxHead``
of MMDetection 3.3, with MMCV's ``batched_nms`` and RoIAlign as operators of ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmcv.ops import RoIAlign
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import FasterRCNN
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import coders
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.errors import UsageError
from mmcnn.models import dense_heads, roi_heads, task_modules
from mmcnn.models.task_modules.delta_bbox_coder import decoded

from .nms import NmsSettings, check_layout, laid_out, rows_of, shifted_nms, top
from .operators import NONE, roi_align

BBOX_HEADS = (Shared2FCBBoxHead, roi_heads.Shared2FCBBoxHead, ConvFCBBoxHead, Shared4Conv1FCBBoxHead, BBoxHead)
CODERS = (coders.DeltaXYWHBBoxCoder, task_modules.DeltaXYWHBBoxCoder)


class ExportableFasterRCNN(nn.Module):
    """Faster R-CNN on one image, with the outputs of form ``nms``.

    Args:
        model: a ``FasterRCNN`` of MMDetection, folded or not, on any backbone, with or without a neck. Its ``test_cfg``
            applies.
        layout: the reader of the outputs, a key of :data:`~mmcnn.deployment.nms.OUTPUTS`.

    Raises:
        UsageError: a part computes differently from this forward pass, or ONNX does not have its NMS.
    """

    def __init__(self, model: nn.Module, layout: str = 'plain') -> None:
        super().__init__()
        _check(model)
        check_layout(layout)
        self.model = model.eval()
        self.layout = layout
        self.rpn_nms = replace(
            NmsSettings.of({**model.rpn_head.test_cfg, 'score_thr': 0.0}, 'test_cfg.rpn'),
            score_thr=NONE / 2,  # no proposal is rejected by score, even with a score of 0
        )
        self.nms = NmsSettings.of(model.roi_head.test_cfg, 'test_cfg.rcnn')
        self.pad_value = float(getattr(model.data_preprocessor, 'pad_value', 0))

    def forward(self, images: Tensor, im_size: Tensor) -> tuple[Tensor, ...]:
        """Return the detections, best first.

        Args:
            images: (1, 3, H, W), normalised; H and W multiples of the strides. The image is at the top left. Its
                surroundings may have any value: they are set here to the preprocessor's ``pad_value``, after
                normalisation, as in ``DetDataPreprocessor``.
            im_size: (2,) int64, height and width of the image on this canvas; boxes are clipped to it.

        Returns:
            See :func:`~mmcnn.deployment.nms.laid_out`; boxes in pixels of the canvas.
        """
        maps = self.model.extract_feat(self._padded(images, im_size))
        limits = im_size.flip(0).to(images.dtype)  # w, h
        rois, there = self._proposals(maps, limits)
        boxes, scores = self._of_rois(maps, rois, limits)
        scores = torch.where(there[:, None], scores, NONE).reshape(1, -1)
        classes = self.model.roi_head.bbox_head.num_classes
        labels = torch.arange(classes, device=rois.device).repeat(rois.shape[0])[None]
        boxes = boxes.reshape(1, -1, 4)
        found, index = top(shifted_nms(boxes, scores, labels, self.nms), self.nms.max_per_img)
        return laid_out(self.layout, rows_of(boxes, index), found, labels.gather(1, index))

    def _padded(self, images: Tensor, im_size: Tensor) -> Tensor:
        rows = torch.arange(images.shape[2], device=images.device) < im_size[0]
        columns = torch.arange(images.shape[3], device=images.device) < im_size[1]
        return torch.where(rows[:, None] & columns, images, self.pad_value)

    def _proposals(self, maps: Sequence[Tensor], limits: Tensor) -> tuple[Tensor, Tensor]:
        """Return RoIs (R, 4) and a mask of the valid ones (R,); the others are empty boxes at the origin."""
        head = self.model.rpn_head
        logits, deltas = head(maps)
        anchors = head.prior_generator.grid_priors([m.shape[-2:] for m in logits], device=maps[0].device)
        candidates = [self._candidates(*each) for each in zip(logits, deltas, anchors, strict=True)]
        scores, deltas, anchors = (torch.cat(part) for part in zip(*candidates, strict=True))
        boxes = decoded(head.bbox_coder, anchors, deltas, limits)
        smallest = head.test_cfg.get('min_bbox_size', -1)
        if smallest >= 0:
            sides = boxes[:, 2:] - boxes[:, :2]
            scores = torch.where((sides > smallest).all(1), scores, NONE)
        levels = torch.cat([torch.full_like(each[0], i) for i, each in enumerate(candidates)])
        kept = shifted_nms(boxes[None], scores[None], levels, self.rpn_nms)
        found, index = top(kept, self.rpn_nms.max_per_img)
        there = found[0] >= 0
        return torch.where(there[:, None], rows_of(boxes[None], index)[0], 0.0), there

    def _candidates(self, logits: Tensor, deltas: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores (P,), deltas (P, 4) and anchors (P, 4) of the best anchors of a level."""
        head = self.model.rpn_head
        logits = logits[0].permute(1, 2, 0).reshape(-1, head.cls_out_channels)
        deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
        scores = sigmoid(logits)[:, 0] if head.use_sigmoid_cls else logits.softmax(-1)[:, 0]
        count, size = self.rpn_nms.nms_pre, scores.shape[0]
        if count is None or (isinstance(size, int) and size <= count):
            return scores, deltas, anchors
        scores, index = top(scores[None], count)
        return scores[0], deltas[index[0]], anchors[index[0]]

    def _of_rois(self, maps: Sequence[Tensor], rois: Tensor, limits: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (R, C, 4) and scores (R, C) of the classes in each RoI."""
        extractor, head = self.model.roi_head.bbox_roi_extractor, self.model.roi_head.bbox_head
        count, layer = extractor.num_inputs, extractor.roi_layers[0]
        levels = extractor.map_roi_levels(F.pad(rois, (1, 0)), count)
        size, scales = list(layer.output_size), [each.spatial_scale for each in extractor.roi_layers]
        pooled = roi_align(list(maps[:count]), rois, levels, size, scales, layer.sampling_ratio, layer.aligned)
        logits, deltas = head(pooled)
        scores = logits.softmax(-1)[:, : head.num_classes]
        deltas = deltas.view(-1, 1 if head.reg_class_agnostic else head.num_classes, 4)
        boxes = decoded(head.bbox_coder, rois[:, None], deltas, limits)
        return boxes.expand(-1, head.num_classes, -1), scores


def sigmoid(logits: Tensor) -> Tensor:
    """Return ``logits.sigmoid()`` by operators with a small relative error.

    ONNX Runtime's Sigmoid (1.32) has an absolute error of 1e-7, which is 4 % of its value at -13: proposals with low
    scores would be in another order, and NMS would keep others.
    """
    return 1.0 / (1.0 + (-logits).exp())


def _check(model: nn.Module) -> None:
    """Raise UsageError for parts that this forward pass would compute differently."""
    if type(model) is not FasterRCNN:
        raise UsageError(
            f'{type(model).__name__} cannot be exported with its detections; among the two-stage detectors, '
            "only MMDetection's FasterRCNN can"
        )
    rpn, roi = model.rpn_head, model.roi_head
    _one_of('rpn_head', rpn, RPNHead, dense_heads.RPNHead)
    _one_of('roi_head', roi, StandardRoIHead)
    for name, there in (('mask_head', roi.with_mask), ('shared_head', roi.with_shared_head)):
        if there:
            raise UsageError(f'roi_head.{name}={type(getattr(roi, name)).__name__} cannot be exported; remove it')
    _one_of('roi_head.bbox_roi_extractor', roi.bbox_roi_extractor, SingleRoIExtractor, roi_heads.SingleRoIExtractor)
    _one_of('roi_head.bbox_head', roi.bbox_head, *BBOX_HEADS)
    if not (roi.bbox_head.with_cls and roi.bbox_head.with_reg):
        raise UsageError('roi_head.bbox_head must have with_cls=True and with_reg=True to be exported')
    if roi.bbox_head.custom_cls_channels:
        loss = type(roi.bbox_head.loss_cls).__name__
        raise UsageError(f'roi_head.bbox_head.loss_cls={loss} computes scores in its own way, which cannot be exported')
    for name, head in (('rpn_head', rpn), ('roi_head.bbox_head', roi.bbox_head)):
        _one_of(f'{name}.bbox_coder', head.bbox_coder, *CODERS)
    for layer in roi.bbox_roi_extractor.roi_layers:
        _one_of('roi_head.bbox_roi_extractor.roi_layer', layer, RoIAlign)
        if layer.pool_mode != 'avg':
            raise UsageError(
                f'roi_layer.pool_mode={layer.pool_mode!r} works differently in ONNX; only avg can be exported'
            )


def _one_of(name: str, part: nn.Module, *types: type) -> None:
    if type(part) not in types:
        known = ', '.join(dict.fromkeys(each.__name__ for each in types))  # our classes have the names of MMDetection's
        raise UsageError(f'{name} is a {type(part).__name__}, which cannot be exported; use {known}')
