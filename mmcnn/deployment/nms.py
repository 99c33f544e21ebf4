"""The last step of a detector as ONNX operators: from all boxes to a fixed number of detections for each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcnn.errors import UsageError
from mmcnn.ops import NMS_KINDS

from .operators import NONE, non_max_suppression

#: The outputs by reader: mmcnn.runtime and general use, readers of TensorRT's EfficientNMS plugin (the names in its
#: README), and DeepStream's YOLO parsers.
OUTPUTS = {
    'plain': ('num_dets', 'boxes', 'scores', 'labels'),
    'tensorrt': ('num_detections', 'detection_boxes', 'detection_scores', 'detection_classes'),
    'deepstream': ('detections',),
}
#: Kinds of NMS with an ONNX operator: ours, and MMCV's.
KINDS = ('iou', 'nms')
#: A limit of more candidates than this is not in the graph: TopK of YOLOv5's 30,000 of 2 million (640 pixels, 80
#: classes) takes 25 ms on one core where NMS takes 6 to 30 ms; a limit of 5,000 saves more than it takes.
MAX_CUT = 5000


@dataclass(frozen=True)
class NmsSettings:
    """The settings of NMS.

    Attributes:
        iou_threshold: a box is suppressed if its IoU with a better one exceeds it.
        score_thr: boxes whose score does not exceed it are not considered.
        max_per_img: K, maximum number of detections in an image.
        nms_pre: number of best candidates (a box with one class each) that take part; None: all.
        multi_label: one box may have several classes; else only its best one.
        shifted: how classes are separated. MMCV shifts the boxes of each class to a separate region, where float32 is
            less precise, so that occasionally another box is suppressed; ours does not shift them. The graph does what
            PyTorch does.
    """

    iou_threshold: float
    score_thr: float
    max_per_img: int
    nms_pre: int | None = None
    multi_label: bool = True
    shifted: bool = False

    @classmethod
    def of(cls, test_cfg: Mapping[str, Any], where: str = 'test_cfg') -> NmsSettings:
        """Read ``score_thr``, ``nms``, ``nms_pre``, ``max_per_img`` and ``multi_label`` from a head's ``test_cfg``.

        Args:
            test_cfg: the head's ``test_cfg``.
            where: name of ``test_cfg`` in messages.

        Raises:
            UsageError: ONNX does not have this NMS, or the number of detections is unlimited.
        """
        kind, iou_threshold = kind_and_threshold(test_cfg, where)
        if kind not in KINDS:
            instead = (
                'export with form=decoded, where mmcnn.runtime does NMS, or set its type to iou'
                if kind in NMS_KINDS
                else 'set its type to nms'
            )
            raise UsageError(f'{where}.nms.type={kind!r} has no ONNX operator; {instead}')
        score_thr, count = float(test_cfg.get('score_thr', 0.0)), int(test_cfg.get('max_per_img', -1))
        if score_thr < 0:
            raise UsageError(f'{where}.score_thr={score_thr} must be at least 0')
        if count < 1:
            raise UsageError(
                f'{where}.max_per_img={count} does not limit the number of detections; an exported NMS needs a '
                'positive number'
            )
        pre = int(test_cfg.get('nms_pre', -1))
        multi_label = bool(test_cfg.get('multi_label', True))
        return cls(iou_threshold, score_thr, count, pre if pre > 0 else None, multi_label, kind == 'nms')


class NMS(nn.Module):
    """Class-wise NMS on decoded boxes, for any number of images.

    Equal scores keep the order of boxes, then of classes. Boxes are not clipped, since the network does not know where
    the image ends on its canvas.

    Args:
        test_cfg: see :meth:`NmsSettings.of`; for MMDetection's YOLOV3Head with ``score_thr=0``, since its thresholds
            are applied to the decoded scores.
        layout: the reader of the outputs, a key of :data:`OUTPUTS`.

    Attributes:
        dropped: sentences about steps of PyTorch that the graph does not have.

    Raises:
        UsageError: see :meth:`NmsSettings.of`; or an unknown layout.
    """

    def __init__(self, test_cfg: Mapping[str, Any], layout: str = 'plain') -> None:
        super().__init__()
        check_layout(layout)
        self.settings, self.layout = NmsSettings.of(test_cfg), layout
        self.cut, self.dropped = self.settings.nms_pre, []
        if self.cut is not None and self.cut > MAX_CUT and not self.settings.shifted:
            self.dropped += [
                f'nms_pre={self.cut} is not in the graph: if there are more candidates above score_thr, all of them '
                f'take part in NMS, which matters only if the best {self.cut} result in fewer than '
                f'max_per_img={self.settings.max_per_img} detections.'
            ]
            self.cut = None

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        """Return the detections, best first.

        Args:
            boxes: (N, B, 4) xyxy pixels.
            scores: (N, B, C); those equal to 0 are not considered.

        Returns:
            See :func:`laid_out`.
        """
        it = self.settings
        classes = scores.shape[2]
        if not it.multi_label and classes > 1:
            best = torch.arange(classes, device=scores.device) == scores.argmax(-1, keepdim=True)
            scores = torch.where(best, scores, 0.0)
        if it.shifted:
            scores = scores.flatten(1)
            if self.cut is None:
                index = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
            else:
                scores, index = top(scores, self.cut)
            boxes, labels = rows_of(boxes, index // classes), index % classes
            kept = shifted_nms(boxes, scores, labels, it)
            found, index = top(kept, it.max_per_img)
            return laid_out(self.layout, rows_of(boxes, index), found, labels.gather(1, index))
        if self.cut is not None:
            scores = best_candidates(scores, self.cut)
        kept = non_max_suppression(
            boxes, scores.transpose(1, 2).contiguous(), it.max_per_img, it.iou_threshold, it.score_thr
        )
        found, index = top(kept.transpose(1, 2).flatten(1), it.max_per_img)
        return laid_out(self.layout, rows_of(boxes, index // classes), found, index % classes)


class WithNMS(nn.Module):
    """A detector of form ``decoded`` followed by :class:`NMS`.

    Args:
        decoded: images (N, 3, H, W) to boxes (N, B, 4), xyxy pixels, and scores (N, B, C).
        test_cfg: see :class:`NMS`.
        layout: see :class:`NMS`.

    Attributes:
        dropped: see :class:`NMS`.
    """

    def __init__(self, decoded: nn.Module, test_cfg: Mapping[str, Any], layout: str = 'plain') -> None:
        super().__init__()
        self.decoded, self.nms = decoded, NMS(test_cfg, layout)
        self.dropped = self.nms.dropped

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the detections of images (1, 3, H, W), see :func:`laid_out`."""
        return self.nms(*self.decoded(images))


def kind_and_threshold(test_cfg: Mapping[str, Any], where: str) -> tuple[str, float]:
    """Return the kind of the NMS of a head's ``test_cfg`` and its IoU threshold.

    Args:
        test_cfg: the head's ``test_cfg``.
        where: name of ``test_cfg`` in messages.

    Raises:
        UsageError: there is no threshold, or there is a setting that neither files nor the runner support.
    """
    nms = dict(test_cfg.get('nms') or {})
    kind = nms.pop('type', 'iou')
    kind = kind if isinstance(kind, str) else getattr(kind, '__name__', repr(kind))
    if 'iou_threshold' not in nms:
        raise UsageError(f'{where}.nms={dict(test_cfg.get("nms") or {})} has no iou_threshold')
    iou_threshold = float(nms.pop('iou_threshold'))
    nms.pop('split_thr', None)  # how MMCV divides the work
    if nms:
        raise UsageError(f'{where}.nms has {", ".join(nms)}, which the exported NMS does not support; remove it')
    if not 0 <= iou_threshold <= 1:
        raise UsageError(f'{where}.nms.iou_threshold={iou_threshold} must be between 0 and 1')
    return kind, iou_threshold


def check_layout(layout: str) -> None:
    """Raise UsageError for a layout that is not in :data:`OUTPUTS`."""
    if layout not in OUTPUTS:
        raise UsageError(f'unknown layout={layout!r} of the detections; use one of {", ".join(OUTPUTS)}')


def shifted_nms(boxes: Tensor, scores: Tensor, groups: Tensor, settings: NmsSettings) -> Tensor:
    """Return NMS like MMCV's ``batched_nms``: in one pass, after each group was shifted to a separate region.

    Args:
        boxes: (N, P, 4) xyxy pixels.
        scores: (N, P).
        groups: (N, P) or (P,) integers; only boxes of one group suppress each other.
        settings: ``iou_threshold``, ``score_thr`` and ``max_per_img`` are used.

    Returns:
        (N, P): the scores of the kept boxes, -1 elsewhere.
    """
    considered = scores > settings.score_thr
    largest = torch.where(considered[..., None], boxes, 0.0).flatten(1).amax(1)
    moved = boxes + (groups.to(boxes.dtype) * (largest[:, None] + 1))[..., None]
    kept = non_max_suppression(moved, scores[:, None], settings.max_per_img, settings.iou_threshold, settings.score_thr)
    return kept[:, 0]


def best_candidates(scores: Tensor, count: int) -> Tensor:
    """Return the best ``count`` scores of each image, 0 elsewhere: the limit ``nms_pre`` before NMS.

    Args:
        scores: (N, B, C).
        count: number of scores to keep.
    """
    flat = scores.flatten(1)
    size = flat.shape[1]
    if isinstance(size, int) and size <= count:
        return scores
    best, index = top(flat, count)
    # If there are fewer, the surplus goes to an extra column, which is then removed.
    index = torch.where(best > NONE, index, size)
    return flat.new_zeros(flat.shape[0], size + 1).scatter(1, index, best)[:, :size].view_as(scores)


def top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best ``count`` of each row, best first; of equal scores the first in order, as in ONNX's TopK.

    Args:
        scores: (N, P), greater than -1 if valid.
        count: number of scores to return.

    Returns:
        Scores (N, count), -1 where a row has fewer; indices (N, count), arbitrary there.
    """
    size = scores.shape[1]
    if not isinstance(size, int) or size < count:
        values, index = F.pad(scores, (0, count), value=NONE).topk(count)
        return values, index.clamp(max=size - 1)
    return scores.topk(count)


def rows_of(boxes: Tensor, index: Tensor) -> Tensor:
    """Return the rows of boxes (N, B, 4) at indices (N, K): (N, K, 4)."""
    return boxes.gather(1, index[..., None].expand(-1, -1, 4))


def laid_out(layout: str, boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return the detections in the form that their consumers expect.

    Args:
        layout: a key of :data:`OUTPUTS`.
        boxes: (N, K, 4) xyxy pixels.
        scores: (N, K), best first, -1 where there is none.
        labels: (N, K) int64.

    Returns:
        For ``plain``: num_dets (N,) int64, boxes (N, K, 4), scores (N, K) and labels (N, K) int64, with -1 in unused
            rows; for ``tensorrt`` the same with num_dets (N, 1) and both integers int32; for ``deepstream`` one
            (N, K, 6): x1, y1, x2, y2, score, label, with 0 in unused rows, as its parsers look up a threshold by label
            before they compare the score.
    """
    there = scores >= 0
    if layout == 'deepstream':
        rows = torch.cat([boxes, scores[..., None], labels[..., None].to(boxes.dtype)], dim=-1)
        return (torch.where(there[..., None], rows, 0.0),)
    boxes = torch.where(there[..., None], boxes, NONE)
    scores = torch.where(there, scores, NONE)
    labels = torch.where(there, labels, -1)
    if layout == 'tensorrt':
        return there.sum(1, keepdim=True).to(torch.int32), boxes, scores, labels.to(torch.int32)
    return there.sum(1), boxes, scores, labels
