"""Greedy non-maximum suppression without compiled code, exact and fast enough for 30,000 boxes."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from mmcnn.ops.greedy_blocks import greedy_blocks
from mmcnn.ops.greedy_sweep import BLOCK_SIZE, MAX_PAIRS, NMS_KINDS, sweep

__all__ = ['BLOCK_SIZE', 'MAX_PAIRS', 'NMS_KINDS', 'batched_nms', 'nms', 'nms_of_images', 'torchvision_op']


@cache
def torchvision_op(name: str, device_type: str) -> Callable | None:
    """Find a compiled torchvision operator.

    Args:
        name: Operator name in the ``torchvision`` namespace, such as ``nms`` or ``roi_align``.
        device_type: ``torch.device.type`` that it must support.

    Returns:
        The operator, or None if torchvision is not installed, cannot be loaded (its wheels on PyPI are CUDA builds and
            fail with a CPU torch), or has no kernel for the device. Never raises.
    """
    try:
        import torchvision  # noqa: F401  (registers the operators)

        op = getattr(torch.ops.torchvision, name)
        key = {'cpu': 'CPU', 'cuda': 'CUDA'}[device_type]
        return op if op.default.has_kernel_for_dispatch_key(key) else None
    except Exception:
        # A torchvision that does not match torch raises ImportError, RuntimeError, OSError or AttributeError, depending
        # on the versions; each of them means that it cannot be used.
        return None


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0, kind: str = 'iou') -> Tensor:
    """Compute greedy NMS: the best box suppresses those that overlap it too much, then the next best, and so on.

    Computed in float32 with the arithmetic of mmcv's compiled CPU operator, so that the same boxes are kept. On CUDA,
    ``kind='iou'`` with ``offset=0`` uses torchvision's operator if it can be loaded.

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
    labels = torch.zeros_like(scores, dtype=torch.long)
    return _of_images(boxes, scores, labels, [len(boxes)], iou_threshold, offset, kind)[0]


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float,
    kind: str = 'iou',
    max_keep: int | None = None,
) -> Tensor:
    """Compute class-wise :func:`nms` in one call: only boxes of equal label suppress each other.

    Unlike with the usual shift of every class, the coordinates are unchanged, so that no precision is lost with many
    classes or large images.

    Args:
        boxes: ``(N, 4)`` corners x1, y1, x2, y2 in pixels.
        scores: ``(N,)``.
        labels: ``(N,)`` integers.
        iou_threshold: See :func:`nms`.
        kind: See :func:`nms`.
        max_keep: maximum number of boxes to return, without work for the rest. None: all.

    Returns:
        Indices of the kept boxes of all classes, int64, in descending order of score.

    Raises:
        ValueError: as in :func:`nms`, or if there is not one label per box.
    """
    _check(boxes, scores, iou_threshold, 0, kind)
    _check_labels(labels, scores)
    return _of_images(boxes, scores, labels, [len(boxes)], iou_threshold, 0, kind, max_keep)[0]


def nms_of_images(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    counts: Sequence[int],
    iou_threshold: float,
    kind: str = 'iou',
    max_keep: int | None = None,
) -> list[Tensor]:
    """Compute :func:`batched_nms` for each image of a batch, waiting for a GPU only once.

    Args:
        boxes: ``(N, 4)`` of all images, one image after the other.
        scores: ``(N,)``.
        labels: ``(N,)``.
        counts: number of boxes of each image.
        iou_threshold: See :func:`nms`.
        kind: see :func:`nms`.
        max_keep: for each image, see :func:`batched_nms`.

    Returns:
        For each image, indices into ``boxes`` of the kept ones, int64, in descending order of score.

    Raises:
        ValueError: as in :func:`batched_nms`, or if ``counts`` do not add up to the number of boxes.
    """
    _check(boxes, scores, iou_threshold, 0, kind)
    _check_labels(labels, scores)
    if sum(counts) != len(boxes):
        raise ValueError(f'counts={list(counts)} must add up to the number of boxes, {len(boxes)}, not {sum(counts)}')
    return _of_images(boxes, scores, labels, counts, iou_threshold, 0, kind, max_keep)


def _check(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int, kind: str) -> None:
    if boxes.dim() != 2 or boxes.size(1) != 4:
        raise ValueError(f'boxes must have shape (N, 4), not {tuple(boxes.shape)}')
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f'scores must have shape ({len(boxes)},) to match the boxes, not {tuple(scores.shape)}')
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f'iou_threshold must be between 0 and 1, not {iou_threshold}')
    if offset not in (0, 1):
        raise ValueError(f'offset must be 0 or 1, not {offset}')
    if kind not in NMS_KINDS:
        raise ValueError(f'unknown NMS kind {kind!r}; known kinds: {", ".join(NMS_KINDS)}')


def _check_labels(labels: Tensor, scores: Tensor) -> None:
    if labels.shape != scores.shape:
        raise ValueError(f'labels must have one entry per box, {tuple(scores.shape)}, not {tuple(labels.shape)}')


def _as_float32(value: float) -> float:
    """Round a threshold like mmcv's operator, which takes it as a 32-bit float."""
    return float(np.float32(value))


def _torchvision_nms(boxes: Tensor, offset: int, kind: str) -> Callable | None:
    if boxes.device.type == 'cuda' and offset == 0 and kind == 'iou':
        return torchvision_op('nms', 'cuda')
    return None


def _of_images(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    counts: Sequence[int],
    iou_threshold: float,
    offset: int,
    kind: str,
    max_keep: int | None = None,
) -> list[Tensor]:
    boxes, scores = boxes.detach().float(), scores.detach()
    if boxes.device.type != 'cpu':
        return _on_device(boxes, scores, labels, counts, _as_float32(iou_threshold), offset, kind, max_keep)
    found, first = [], 0
    for each in zip(boxes.split([*counts]), scores.split([*counts]), labels.split([*counts]), strict=True):
        order = each[1].sort(descending=True, stable=True).indices
        kept = sweep(each[0][order].numpy(), each[2][order].numpy(), iou_threshold, offset, kind, max_keep)
        found.append(order[torch.from_numpy(kept)] + first)
        first += len(order)
    return found


def _on_device(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    counts: Sequence[int],
    threshold: float,
    offset: int,
    kind: str,
    max_keep: int | None,
) -> list[Tensor]:
    """Process all images at once: a row for each, padded to the longest, in descending order of score."""
    longest = max(counts, default=0)
    if not longest:
        return [torch.zeros_like(labels[:0], dtype=torch.long) for _ in counts]
    starts = [*accumulate(counts, initial=0)][:-1]
    numbers = torch.tensor([starts, [*counts]]).to(boxes.device, non_blocking=True)[..., None]
    columns = torch.arange(longest, device=boxes.device)
    index = (numbers[0] + columns).clamp(max=len(boxes) - 1)
    present = columns < numbers[1]
    order = torch.where(present, scores[index], -math.inf).sort(dim=1, descending=True, stable=True).indices
    index = index.gather(1, order)
    # Rows are padded at the end, also in the order of scores.
    kept, many = greedy_blocks(boxes[index], labels[index], present, threshold, offset, kind, max_keep)
    index = torch.cat([index, index[:, :1]], dim=1).gather(1, kept)
    return [row[:count] for row, count in zip(index, many, strict=True)]
