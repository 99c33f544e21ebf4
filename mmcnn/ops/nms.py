"""Greedy non-maximum suppression without compiled code, exact and fast enough for 30,000 boxes."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from mmcnn.ops.greedy_sweep import BLOCK_SIZE, MAX_PAIRS, NMS_KINDS, sweep

__all__ = ['BLOCK_SIZE', 'MAX_PAIRS', 'NMS_KINDS', 'batched_nms', 'nms', 'torchvision_op']


@cache
def torchvision_op(name: str, device_type: str) -> Callable | None:
    """Find a compiled torchvision operator.

    Args:
        name: Operator name in the ``torchvision`` namespace, such as ``nms`` or ``roi_align``.
        device_type: ``torch.device.type`` it has to run on.

    Returns:
        The operator, or None where torchvision is absent, does not load (its wheels on PyPI are CUDA builds and
        fail beside a CPU torch), or has no kernel for the device. Never raises.
    """
    try:
        import torchvision  # noqa: F401  (registers the operators)

        op = getattr(torch.ops.torchvision, name)
        key = {'cpu': 'CPU', 'cuda': 'CUDA'}[device_type]
        return op if op.default.has_kernel_for_dispatch_key(key) else None
    except Exception:
        # A torchvision that does not match torch fails with ImportError, RuntimeError, OSError or AttributeError,
        # depending on the two versions; each means the same: it cannot be used.
        return None


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0, kind: str = 'iou') -> Tensor:
    """Greedy NMS: the best box suppresses those that overlap it too much, then the next best that is left, and so on.

    Computed in float32 with the arithmetic of mmcv's compiled CPU operator, so that the same boxes are kept.
    Boxes on another device are computed on the CPU and the result is returned on theirs; on CUDA, ``kind='iou'``
    with ``offset=0`` uses torchvision's operator where it loads.

    Args:
        boxes: ``(N, 4)`` corners x1, y1, x2, y2 in pixels.
        scores: ``(N,)``. Equal scores keep their input order.
        iou_threshold: In [0, 1]. A box is suppressed when its criterion exceeds the threshold.
        offset: 0, or 1 for boxes whose right and bottom pixel belong to them: sides are ``x2 - x1 + offset``.
        kind: What is compared with the threshold. With rho the distance of the two centres and c the diagonal of the
            smallest box around both, ``'iou'`` is plain IoU; ``'greedy_diou'`` is Darknet's ``greedynms``
            (yolov4.cfg), ``IoU - (rho^2 / c^2)^0.6``; ``'diou'`` is ``IoU - rho^2 / c^2`` (Zheng et al. 2020,
            arXiv 1911.08287).

    Returns:
        Indices of the kept boxes, int64, in descending order of score.

    Raises:
        ValueError: For wrong shapes, a threshold outside [0, 1], or an unknown offset or kind.
    """
    _check(boxes, scores, iou_threshold, offset, kind)
    if op := _torchvision_nms(boxes, offset, kind):
        return op(boxes.detach().float(), scores.detach().float(), _as_float32(iou_threshold))
    return _nms_cpu(boxes, scores, None, iou_threshold, offset, kind)


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float,
    kind: str = 'iou',
    max_keep: int | None = None,
) -> Tensor:
    """Class-wise :func:`nms` in one call: only boxes of equal label suppress each other.

    Unlike the usual shift of every class to its own place, the coordinates are left as they are, so that no
    precision is lost with many classes or large images.

    Args:
        boxes: ``(N, 4)`` corners x1, y1, x2, y2 in pixels.
        scores: ``(N,)``.
        labels: ``(N,)`` integers.
        iou_threshold: See :func:`nms`.
        kind: See :func:`nms`.
        max_keep: Return the best so many only, and spend no work on the rest. None: all.

    Returns:
        Indices of the kept boxes of all classes, int64, in descending order of score.

    Raises:
        ValueError: As :func:`nms`, and when there is not one label per box.
    """
    _check(boxes, scores, iou_threshold, 0, kind)
    if labels.shape != scores.shape:
        raise ValueError(f'labels must have one entry per box, {tuple(scores.shape)}, not {tuple(labels.shape)}')
    if op := _torchvision_nms(boxes, 0, kind):
        # This operator knows no labels, so here classes are shifted, in float64, which has the digits to spare.
        ranks = torch.unique(labels, return_inverse=True)[1]
        shifted = boxes.detach().double()
        if boxes.numel():
            shifted = shifted + (ranks * (shifted.max() - shifted.min() + 1))[:, None]
        return op(shifted, scores.detach().double(), _as_float32(iou_threshold))[:max_keep]
    return _nms_cpu(boxes, scores, labels, iou_threshold, 0, kind, max_keep)


def _check(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int, kind: str) -> None:
    if boxes.dim() != 2 or boxes.size(1) != 4:
        raise ValueError(f'boxes must have shape (N, 4), not {tuple(boxes.shape)}')
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f'scores must have shape ({len(boxes)},) to go with the boxes, not {tuple(scores.shape)}')
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f'iou_threshold must be between 0 and 1, not {iou_threshold}')
    if offset not in (0, 1):
        raise ValueError(f'offset must be 0 or 1, not {offset}')
    if kind not in NMS_KINDS:
        raise ValueError(f'unknown NMS kind {kind!r}; known kinds: {", ".join(NMS_KINDS)}')


def _as_float32(value: float) -> float:
    """Round a threshold as mmcv's operator does, which takes it as a 32-bit float."""
    return float(np.float32(value))


def _torchvision_nms(boxes: Tensor, offset: int, kind: str) -> Callable | None:
    if boxes.device.type == 'cuda' and offset == 0 and kind == 'iou':
        return torchvision_op('nms', 'cuda')
    return None


def _nms_cpu(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None,
    iou_threshold: float,
    offset: int,
    kind: str,
    max_keep: int | None = None,
) -> Tensor:
    order = scores.detach().cpu().sort(descending=True, stable=True).indices
    sorted_boxes = boxes.detach().cpu()[order].float().numpy()
    sorted_labels = np.zeros(len(order), np.int64) if labels is None else labels.detach().cpu()[order].numpy()
    kept = sweep(sorted_boxes, sorted_labels, iou_threshold, offset, kind, max_keep)
    return order[torch.from_numpy(kept)].to(boxes.device)
