"""Greedy non-maximum suppression without compiled code, exact and fast enough for 30,000 boxes."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor

NMS_KINDS = ('iou', 'greedy_diou', 'diou')
# Boxes that are decided together. Large enough to keep the Python loop short, small enough that little work
# is spent on boxes that the block itself suppresses.
BLOCK_SIZE = 512
# Pairs that are compared together, so that memory stays below 100 MB however many boxes overlap.
MAX_PAIRS = 1 << 20


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
    # Infinite and undefined coordinates compare false and so suppress nothing; no need to warn about them.
    with np.errstate(all='ignore'):
        kept = _GreedySweep(sorted_boxes, sorted_labels, np.float32(iou_threshold), offset, kind).run(max_keep)
    return order[torch.from_numpy(kept)].to(boxes.device)


class _GreedySweep:
    """Greedy suppression over boxes in score order.

    Block by block: the block's own survivors are found, then all later boxes that they suppress are removed. Only
    pairs of one label whose x extents touch are compared; a pair without intersection cannot exceed a threshold >= 0.

    A box occupies the integer interval [start, stop): ranks of its left and right edge among all left edges, plus a
    distance per label that keeps labels apart exactly. Two boxes can intersect only if one starts within the other.
    """

    def __init__(self, boxes: np.ndarray, labels: np.ndarray, threshold: np.float32, offset: int, kind: str) -> None:
        self.x1, self.y1, self.x2, self.y2 = np.ascontiguousarray(boxes.T)
        self.offset = np.float32(offset)
        self.area = (self.x2 - self.x1 + self.offset) * (self.y2 - self.y1 + self.offset)
        self.threshold = threshold
        self.kind = kind
        left_edges = np.sort(self.x1)
        apart = np.unique(labels, return_inverse=True)[1] * (len(boxes) + 1)
        self.start = apart + np.searchsorted(left_edges, self.x1)
        # In float64 the sum cannot round below a float32 edge that it reaches, so no touching pair is lost.
        self.stop = apart + np.searchsorted(left_edges, self.x2.astype(np.float64) + offset, side='right')

    def run(self, max_keep: int | None = None) -> np.ndarray:
        """Indices (ascending: the boxes are in score order) of the boxes that survive, the first ``max_keep``."""
        alive = np.ones(len(self.x1), bool)
        waiting = np.arange(len(self.x1))
        waiting_by_start = self._by_start(waiting)
        while waiting.size:
            block = waiting[:BLOCK_SIZE]
            self._suppress_within(block, alive)
            if max_keep is not None:
                decided = np.flatnonzero(alive[: block[-1] + 1])
                if len(decided) >= max_keep:
                    return decided[:max_keep]
            waiting_by_start = waiting_by_start[waiting_by_start > block[-1]]
            survivors = self._by_start(block[alive[block]])
            for _, suppressed in self._suppressing_pairs(survivors, waiting_by_start):
                alive[suppressed] = False
            waiting_by_start = waiting_by_start[alive[waiting_by_start]]
            waiting = waiting[BLOCK_SIZE:]
            waiting = waiting[alive[waiting]]
        return np.flatnonzero(alive)

    def _suppress_within(self, block: np.ndarray, alive: np.ndarray) -> None:
        """Set ``alive`` to False for the boxes of the block that a better survivor of the block suppresses."""
        by_start = self._by_start(block)
        pairs = [(i[i < j], j[i < j]) for i, j in self._suppressing_pairs(by_start, by_start)]
        suppressor = np.concatenate([block[:0], *(i for i, _ in pairs)])
        suppressed = np.concatenate([block[:0], *(j for _, j in pairs)])
        order = np.argsort(suppressor, kind='stable')
        suppressed = suppressed[order]
        rows, begins, counts = np.unique(suppressor[order], return_index=True, return_counts=True)
        for row, begin, end in zip(rows.tolist(), begins.tolist(), (begins + counts).tolist(), strict=True):
            if alive[row]:
                alive[suppressed[begin:end]] = False

    def _by_start(self, indices: np.ndarray) -> np.ndarray:
        return indices[np.argsort(self.start[indices], kind='stable')]

    def _suppressing_pairs(self, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (i, j), i from a and j from b (both sorted by start), whose criterion exceeds the threshold."""
        a_start, b_start = self.start[a], self.start[b]
        # b starts inside a ...
        for rows, columns in _expand(np.searchsorted(b_start, a_start), np.searchsorted(b_start, self.stop[a])):
            yield self._over_threshold(a[rows], b[columns])
        # ... or a starts inside b.
        begins = np.searchsorted(a_start, b_start, side='right')
        for rows, columns in _expand(begins, np.searchsorted(a_start, self.stop[b])):
            yield self._over_threshold(a[columns], b[rows])

    def _over_threshold(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height = np.minimum(self.y2[i], self.y2[j]) - np.maximum(self.y1[i], self.y1[j]) + self.offset
        touching = np.flatnonzero(height > 0)
        i, j, height = i[touching], j[touching], height[touching]
        width = np.minimum(self.x2[i], self.x2[j]) - np.maximum(self.x1[i], self.x1[j]) + self.offset
        intersection = np.maximum(width, np.float32(0)) * height
        criterion = intersection / (self.area[i] + self.area[j] - intersection)
        if self.kind != 'iou':
            # The penalty is not negative: only pairs whose IoU passes need it.
            passed = np.flatnonzero(criterion > self.threshold)
            i, j = i[passed], j[passed]
            exponent = np.float32(0.6 if self.kind == 'greedy_diou' else 1)
            criterion = criterion[passed] - self._distance_ratio(i, j) ** exponent
        over = np.flatnonzero(criterion > self.threshold)
        return i[over], j[over]

    def _distance_ratio(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """rho^2 / c^2: squared distance of the centres over the squared diagonal of the enclosing box."""
        dx = (self.x1[i] + self.x2[i] - self.x1[j] - self.x2[j]) / 2
        dy = (self.y1[i] + self.y2[i] - self.y1[j] - self.y2[j]) / 2
        enclosing_width = np.maximum(self.x2[i], self.x2[j]) - np.minimum(self.x1[i], self.x1[j]) + self.offset
        enclosing_height = np.maximum(self.y2[i], self.y2[j]) - np.minimum(self.y1[i], self.y1[j]) + self.offset
        return (dx * dx + dy * dy) / (enclosing_width * enclosing_width + enclosing_height * enclosing_height)


def _expand(begins: np.ndarray, ends: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows, columns) of all ``columns`` in ``[begins[row], ends[row])``, about ``MAX_PAIRS`` at a time."""
    counts = np.maximum(ends - begins, 0)
    totals = np.cumsum(counts)
    first, done = 0, 0
    while first < len(counts) and done < totals[-1]:
        last = max(int(np.searchsorted(totals, done + MAX_PAIRS, side='right')), first + 1)
        chunk = counts[first:last]
        rows = np.repeat(np.arange(first, last), chunk)
        row_begins = begins[first:last] - (np.cumsum(chunk) - chunk)
        yield rows, np.arange(len(rows)) + np.repeat(row_begins, chunk)
        first, done = last, int(totals[last - 1])
