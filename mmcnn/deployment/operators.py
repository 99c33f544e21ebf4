"""Operators of ONNX that PyTorch does not have: NonMaxSuppression and RoiAlign.

Each is a custom operator of PyTorch that computes with :mod:`mmcnn.ops`, so that it can run and be tested, and a
translation for ``torch.onnx.export(dynamo=True, custom_translation_table=translations())``, so that the file has only
operators of ONNX's own domain. The sizes of their results do not depend on the data, so that ``torch.export`` knows
them: all boxes are returned, and the suppressed ones are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmcnn import ops

#: The score of a box that is suppressed or below the threshold.
NONE = -1.0


@torch.library.custom_op('mmcnn::onnx_nms', mutates_args=())
def non_max_suppression(
    boxes: Tensor, scores: Tensor, max_boxes: int, iou_threshold: float, score_threshold: float
) -> Tensor:
    """Greedy NMS of each image and class, like ONNX's NonMaxSuppression.

    Args:
        boxes: (N, B, 4) xyxy pixels.
        scores: (N, C, B).
        max_boxes: maximum number of boxes to keep of each class.
        iou_threshold: a box is suppressed if its IoU with a better one exceeds it.
        score_threshold: boxes whose score does not exceed it are not considered.

    Returns:
        (N, C, B): the scores of the kept boxes, -1 elsewhere. For equal scores, the first one is the better one.
    """
    kept = torch.full_like(scores, NONE)
    for image in range(scores.shape[0]):
        for label in range(scores.shape[1]):
            considered = (scores[image, label] > score_threshold).nonzero()[:, 0]
            found = ops.nms(boxes[image, considered], scores[image, label, considered], iou_threshold)
            best = considered[found[:max_boxes]]
            kept[image, label, best] = scores[image, label, best]
    return kept


@non_max_suppression.register_fake
def _(boxes: Tensor, scores: Tensor, max_boxes: int, iou_threshold: float, score_threshold: float) -> Tensor:
    return torch.empty_like(scores)


@torch.library.custom_op('mmcnn::onnx_roi_align', mutates_args=())
def roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    size: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """RoIAlign with average pooling on the levels of one image, like ONNX's RoiAlign for each level.

    Args:
        features: (1, C, H_i, W_i) of each level.
        rois: (K, 4) xyxy pixels of the input.
        levels: (K,) int64, the index of the level that each RoI is pooled from.
        size: bins (P_h, P_w).
        scales: for each level, cells per pixel, such as 1/16.
        sampling_ratio: samples per bin and axis; 0: ``ceil(roi size / bins)``.
        aligned: pixel centres lie at .5; else RoIs are at least one cell wide and high.

    Returns:
        (K, C, P_h, P_w), in the order of the RoIs.
    """
    pooled = features[0].new_zeros(len(rois), features[0].shape[1], *size)
    rois = torch.cat([rois.new_zeros(len(rois), 1), rois], dim=1)
    for level, (maps, scale) in enumerate(zip(features, scales, strict=True)):
        here = levels == level
        pooled[here] = ops.roi_align_forward(maps, rois[here], tuple(size), scale, sampling_ratio, 'avg', aligned)[0]
    return pooled


@roi_align.register_fake
def _(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    size: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return features[0].new_empty(rois.shape[0], features[0].shape[1], *size)


def translations() -> dict[Callable, Callable]:
    """Return the ``custom_translation_table`` of ``torch.onnx.export``; operators of opset 18, also in later ones."""
    from onnxscript import opset18 as op

    # No annotations: the exporter would try to resolve them, and accepts the arguments without.
    def nms(boxes, scores, max_boxes, iou_threshold, score_threshold):
        kept = op.NonMaxSuppression(
            boxes,
            scores,
            op.Constant(value_ints=[max_boxes]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[score_threshold]),
        )
        nowhere = op.Expand(op.Constant(value_float=NONE), op.Shape(scores))
        return op.ScatterND(nowhere, kept, op.GatherND(scores, kept))

    def align(features, rois, levels, size, scales, sampling_ratio, aligned):
        first, one = op.Constant(value_ints=[0]), op.Constant(value_int=1)
        pooled, places = [], []
        for level, (maps, scale) in enumerate(zip(features, scales, strict=True)):
            here = op.Squeeze(op.NonZero(op.Equal(levels, op.Constant(value_int=level))), first)
            images = op.Expand(op.Constant(value_int=0), op.Shape(here))
            pooled.append(
                op.RoiAlign(
                    maps,
                    op.Gather(rois, here, axis=0),
                    images,
                    mode='avg',
                    output_height=size[0],
                    output_width=size[1],
                    spatial_scale=scale,
                    sampling_ratio=sampling_ratio,
                    coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
                )
            )
            places.append(here)
        # Row i of the concatenated levels belongs to RoI places[i]: restore the order of the RoIs.
        places = op.Concat(*places, axis=0)
        rows = op.Range(op.Constant(value_int=0), op.Squeeze(op.Shape(places), first), one)
        return op.Gather(op.Concat(*pooled, axis=0), op.ScatterElements(rows, places, rows, axis=0), axis=0)

    return {torch.ops.mmcnn.onnx_nms.default: nms, torch.ops.mmcnn.onnx_roi_align.default: align}
