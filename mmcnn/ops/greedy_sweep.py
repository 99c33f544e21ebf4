"""Greedy suppression in NumPy, for :mod:`mmcnn.ops.nms` and for the runner of exported files, which has no PyTorch."""

from collections.abc import Iterator

import numpy as np

NMS_KINDS = ('iou', 'greedy_diou', 'diou')
# Number of boxes that are decided together: many keep the Python loop short; few, where many overlap or only the best
# are kept, waste little work on boxes that the block itself suppresses or that are not needed.
BLOCK_SIZE, CROWDED_BLOCK_SIZE, MIN_BLOCK_SIZE = 512, 192, 128
# A block is crowded if its boxes are compared with this many later ones on average.
CROWDED = 10
# Where only the best boxes are kept, the candidates are taken in parts, so that those after the last kept box cost
# nothing. A part has this many times as many candidates as boxes are kept, and not fewer than MIN_PART.
CANDIDATES_PER_KEPT = 4
MIN_PART = 1024
# Pairs are compared whose IoU may be above the threshold less this.
MARGIN = 1e-3
# Number of pairs that are compared together, so that memory stays below 100 MB however many boxes overlap.
MAX_PAIRS = 1 << 20


def greedy_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    iou_threshold: float,
    kind: str = 'iou',
    max_keep: int | None = None,
) -> np.ndarray:
    """Compute :func:`mmcnn.ops.batched_nms` for arrays: the same boxes are kept, in the same order.

    Args:
        boxes: (N, 4) float32 corners x1, y1, x2, y2 in pixels.
        scores: (N,). Equal scores keep their input order.
        labels: (N,) integers; only boxes of equal label suppress each other.
        iou_threshold: in [0, 1].
        kind: one of :data:`NMS_KINDS`, see :func:`mmcnn.ops.nms`.
        max_keep: maximum number of boxes to return; None: all.

    Returns:
        Indices of the kept boxes, int64, in descending order of score.
    """
    order = np.argsort(-scores, kind='stable')
    return order[sweep(boxes[order], labels[order], iou_threshold, 0, kind, max_keep)]


def sweep(
    boxes: np.ndarray, labels: np.ndarray, iou_threshold: float, offset: int, kind: str, max_keep: int | None = None
) -> np.ndarray:
    """Return the ascending indices of the boxes (N, 4), in score order, that survive; at most ``max_keep``."""
    part = len(boxes) if max_keep is None else max(CANDIDATES_PER_KEPT * max_keep, MIN_PART)
    kept = np.arange(0)
    # Infinite and undefined coordinates compare false and so suppress nothing; no warning is needed.
    with np.errstate(all='ignore'):
        for first in range(0, len(boxes), part or 1):
            candidates = np.concatenate([kept, np.arange(first, min(first + part, len(boxes)))])
            greedy = _GreedySweep(boxes[candidates], labels[candidates], np.float32(iou_threshold), offset, kind)
            kept = candidates[greedy.run(max_keep, len(kept))]
            if max_keep is not None and len(kept) >= max_keep:
                break
    return kept


class _GreedySweep:
    """Greedy suppression over boxes in score order.

    Block by block: the block's own survivors are found, then all later boxes that they suppress are removed. Only
    pairs of one label are compared whose x extents overlap enough: their IoU is at most their overlap in x over the
    width of either box.

    A box occupies the integer interval [start, stop): ranks of its left edge, and of the last one that overlaps it
    enough, among all left edges, plus a distance per label that keeps labels apart exactly. One box can suppress
    another only if one of them starts within the other's interval.
    """

    def __init__(self, boxes: np.ndarray, labels: np.ndarray, threshold: np.float32, offset: int, kind: str) -> None:
        self.x1, self.y1, self.x2, self.y2 = np.ascontiguousarray(boxes.T)
        self.offset = np.float32(offset)
        self.area = (self.x2 - self.x1 + self.offset) * (self.y2 - self.y1 + self.offset)
        self.threshold = threshold
        self.kind = kind
        left_edges = np.sort(self.x1)
        classes, rank = np.unique(labels, return_inverse=True)
        apart = rank * (len(boxes) + 1)
        self.start = apart + np.searchsorted(left_edges, self.x1)
        # An IoU above the threshold needs that share of this box's width to the right of the other one's start. In
        # float64 and with a margin far above float32's rounding, so that no such pair is lost.
        end = self.x2.astype(np.float64) + offset
        last_start = end - max(float(threshold) - MARGIN, 0.0) * (end - self.x1)
        self.stop = apart + np.searchsorted(left_edges, last_start, side='right')
        # Of the boxes that start within another one's interval, an equal share has its label.
        touching = (self.stop - self.start).mean() / len(boxes) / len(classes)
        self.block_size = BLOCK_SIZE if touching * BLOCK_SIZE <= CROWDED else CROWDED_BLOCK_SIZE

    def run(self, max_keep: int | None = None, kept_before: int = 0) -> np.ndarray:
        """Return the ascending indices of the surviving boxes, which are in score order; at most ``max_keep``.

        The first ``kept_before`` boxes are known not to suppress each other.
        """
        block_size = self.block_size
        if max_keep is not None:
            block_size = min(block_size, max(max_keep * 3 // 2, MIN_BLOCK_SIZE))
        alive = np.ones(len(self.x1), bool)
        waiting = np.arange(len(self.x1))
        waiting_by_start = self._by_start(waiting)
        while waiting.size:
            block = waiting[: kept_before or block_size]
            if not kept_before:
                self._suppress_within(block, alive)
            kept_before = 0
            if max_keep is not None:
                decided = np.flatnonzero(alive[: block[-1] + 1])
                if len(decided) >= max_keep:
                    return decided[:max_keep]
            waiting_by_start = waiting_by_start[waiting_by_start > block[-1]]
            survivors = self._by_start(block[alive[block]])
            for _, suppressed in self._suppressing_pairs(survivors, waiting_by_start):
                alive[suppressed] = False
            waiting_by_start = waiting_by_start[alive[waiting_by_start]]
            waiting = waiting[len(block) :]
            waiting = waiting[alive[waiting]]
        return np.flatnonzero(alive)

    def _suppress_within(self, block: np.ndarray, alive: np.ndarray) -> None:
        """Set ``alive`` to False for the boxes of the block that a better survivor of the block suppresses."""
        pairs = [*self._suppressing_pairs_within(self._by_start(block))]
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

    def _suppressing_pairs_within(self, a: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (i, j), i < j, both from a (sorted by start), whose criterion exceeds the threshold."""
        start = self.start[a]
        for rows, columns in _expand(np.arange(1, len(a) + 1), np.searchsorted(start, self.stop[a])):
            i, j = a.take(rows), a.take(columns)
            yield self._over_threshold(np.minimum(i, j), np.maximum(i, j))

    def _suppressing_pairs(self, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (i, j), i from a and j from b (both sorted by start), whose criterion exceeds the threshold."""
        a_start, b_start = self.start[a], self.start[b]
        # b starts inside a ...
        for rows, columns in _expand(np.searchsorted(b_start, a_start), np.searchsorted(b_start, self.stop[a])):
            yield self._over_threshold(a.take(rows), b.take(columns))
        # ... or a starts inside b.
        begins = np.searchsorted(a_start, b_start, side='right')
        for rows, columns in _expand(begins, np.searchsorted(a_start, self.stop[b])):
            yield self._over_threshold(a.take(columns), b.take(rows))

    def _over_threshold(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # ``take`` is faster than indexing, which counts with tens of thousands of pairs.
        height = np.minimum(self.y2.take(i), self.y2.take(j)) - np.maximum(self.y1.take(i), self.y1.take(j))
        height += self.offset
        touching = np.flatnonzero(height > 0)
        i, j, height = i.take(touching), j.take(touching), height.take(touching)
        width = np.minimum(self.x2.take(i), self.x2.take(j)) - np.maximum(self.x1.take(i), self.x1.take(j))
        width += self.offset
        intersection = np.maximum(width, np.float32(0)) * height
        criterion = intersection / (self.area.take(i) + self.area.take(j) - intersection)
        if self.kind != 'iou':
            # The penalty is not negative: only pairs whose IoU passes need it.
            passed = np.flatnonzero(criterion > self.threshold)
            i, j = i.take(passed), j.take(passed)
            exponent = np.float32(0.6 if self.kind == 'greedy_diou' else 1)
            criterion = criterion.take(passed) - self._distance_ratio(i, j) ** exponent
        over = np.flatnonzero(criterion > self.threshold)
        return i.take(over), j.take(over)

    def _distance_ratio(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Return rho^2 / c^2: squared distance of the centres over the squared diagonal of the enclosing box."""
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
