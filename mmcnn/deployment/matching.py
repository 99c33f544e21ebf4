"""Pairwise matching of the detections of PyTorch and of a file, and the differences that are tolerated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mmcnn.inference.detections import Detections

#: An output of PyTorch and of a file.
Pair = tuple[np.ndarray, np.ndarray]
#: Detections from this score on are also counted separately.
SURE = 0.25


@dataclass(frozen=True)
class Tolerance:
    """How much the detections of a file may differ.

    Attributes:
        box: in pixels of the input; or ``side`` times the longer side of the box, if that is more, since float32 has
            a relative error. score: of a detection.
        sure: fraction of the detections from :data:`SURE` on that must be found. every: the same for all.
        output: for outputs that are not detections, difference relative to the largest value.
    """

    box: float
    score: float
    sure: float = 1.0
    every: float = 0.999
    output: float = 5e-6
    side: float = 1e-5

    def allows(self, matches: Matches) -> bool:
        """Return whether a file's detections match PyTorch's: nearly all are found, and nearly none are added."""
        return (
            matches.found_sure >= self.sure * matches.sure
            and matches.found >= self.every * matches.every
            and matches.more_sure <= matches.sure - self.sure * matches.sure  # 1 - 0.9 is less than 0.1
            and matches.more <= matches.every - self.every * matches.every
        )

    def undecided(self, matches: Matches) -> bool:
        """Return whether one miss is too many only because there are so few detections."""
        if self.allows(matches):
            return False
        levels = (
            (matches.sure, matches.found_sure, matches.more_sure, self.sure),
            (matches.every, matches.found, matches.more, self.every),
        )
        missed = [(count, max(count - found, more), share) for count, found, more, share in levels]
        return all(
            each == 0 or (each == 1 and share < 1 and count < self.enough(share)) for count, each, share in missed
        )

    @staticmethod
    def enough(share: float) -> int:
        """Return how many detections are needed so that one may be missed at this required fraction."""
        return round(1 / (1 - share))

    def alike(self, boxes: Pair, scores: Pair) -> float:
        """Return the fraction of boxes that are the same on both sides, with their scores.

        Args:
            boxes: (N, B, 4) xyxy pixels of the input, from PyTorch and from a file.
            scores: (N, B, C) from both.
        """
        most = np.maximum(self.box, self.side * (boxes[0][..., 2:] - boxes[0][..., :2]).max(-1))
        same = (np.abs(boxes[0] - boxes[1]).max(-1) <= most) & (np.abs(scores[0] - scores[1]).max(-1) <= self.score)
        return float(same.mean())


#: By precision. Those of float16 were determined on detectors trained on bccd and cards at 160 to 320 px: 99 % of the
#: boxes were within 0.2 px and of the scores within 0.001, and less than 1 % of the detections differed, since rounding
#: decides which of two nearly equal boxes stays. Their maps were within 0.001 of the largest value.
TOLERANCES = {'fp32': Tolerance(1e-3, 1e-5), 'fp16': Tolerance(0.5, 2e-3, sure=0.98, every=0.99, output=1e-2)}
#: Random weights amplify rounding errors from layer to layer, PyTorch's own as well: tenfold compared to trained ones.
#: And since thousands of boxes are nearly equal, rounding decides which of them are candidates. Maps in float16 of six
#: families were within 0.001 to 0.05; an overflow is infinite.
RANDOM = {
    'fp32': Tolerance(1e-2, 1e-4, sure=0.99, every=0.99, output=5e-5),
    'fp16': Tolerance(5.0, 2e-2, sure=0.9, every=0.9, output=0.1),
}


@dataclass(frozen=True)
class Matches:
    """Detections of PyTorch, those among them that the file also finds, and those that only the file finds.

    Attributes:
        sure: PyTorch's detections from :data:`SURE` on.
        found_sure: those that the file also finds.
        more_sure: those that only the file finds.
        every: PyTorch's detections at any score.
        found: those that the file also finds.
        more: those that only the file finds.
        box: largest difference in pixels of those found. score: the same for scores.
        aside: detections of PyTorch that exist by chance, and do not count; see :func:`match`.
        images: number of images.
    """

    sure: int
    found_sure: int
    more_sure: int
    every: int
    found: int
    more: int
    box: float
    score: float
    aside: int = 0
    images: int = 0

    def __str__(self) -> str:
        more = f', and {self.more:,} are only in the file' if self.more else ''
        aside = f'; {self.aside:,} at the threshold or the last of an image do not count' if self.aside else ''
        return (
            f'{self.found_sure:,} of {self.sure:,} detections from {SURE} on and {self.found:,} of {self.every:,} '
            f'total are the same{more}{aside}; largest differences: boxes {self.box:.2g} px, scores {self.score:.2g}'
        )

    def __add__(self, other: Matches) -> Matches:
        """Return the sum over both sets of images."""
        sums = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
            if each.name not in ('box', 'score')
        }
        return Matches(**sums, box=max(self.box, other.box), score=max(self.score, other.score))

    def worse(self, other: Matches) -> Matches:
        """Return the worse numbers of two comparisons of the same detections of PyTorch."""
        found = {name: min(getattr(self, name), getattr(other, name)) for name in ('found_sure', 'found')}
        most = {name: max(getattr(self, name), getattr(other, name)) for name in ('more_sure', 'more', 'box', 'score')}
        return replace(self, **found, **most)


def match(
    theirs: Sequence[Detections],
    ours: Sequence[Detections],
    scales: Sequence[tuple[float, float]],
    tolerance: Tolerance,
    score_thr: float,
    max_per_img: int,
) -> Matches:
    """Pair detections of the same images: same class, box and score within a tolerance, each once.

    Unpaired detections of the file count as well, since a file without suppression would find all of PyTorch's.

    Detections that exist by chance are left aside: with a score at the threshold, or equal to the last one of an image
    that has the maximum number.

    Args:
        theirs: PyTorch's, for each image.
        ours: the file's.
        scales: (w, h) of each image: input pixels per image pixel.
        tolerance: tolerance of boxes in pixels of the input.
        score_thr: lowest score.
        max_per_img: maximum number of detections in an image.
    """
    aside = 0
    counts, largest = np.zeros((2, 3), int), np.zeros(2)  # rows: at any score, sure; columns: theirs, found, more
    for wanted, got, scale in zip(theirs, ours, scales, strict=True):
        full = len(wanted) >= max_per_img
        least = (wanted.scores.min() if full else score_thr) + tolerance.score
        free = np.ones(len(got), bool)
        for box, score, label in zip(wanted.boxes, wanted.scores, wanted.labels, strict=True):
            if score <= least:
                aside += 1
                continue
            rows = np.array([True, score >= SURE])
            counts[rows, 0] += 1
            boxes = (np.abs(got.boxes - box) * [*scale, *scale]).max(axis=1, initial=0)
            scores = np.abs(got.scores - score)
            most = max(tolerance.box, tolerance.side * ((box[2:] - box[:2]) * scale).max())
            fits = np.flatnonzero(
                free & (got.labels == label) & (boxes <= most) & (scores <= tolerance.score)
            )  # fmt: skip
            if len(fits):
                best = fits[np.argmin(boxes[fits])]
                free[best] = False
                counts[rows, 1] += 1
                largest = np.maximum(largest, (boxes[best], scores[best]))
        # The remaining ones of the file; one of PyTorch's that was left aside has at most this score there.
        more = got.scores[free & (got.scores > least + tolerance.score)]
        counts[:, 2] += len(more), (more >= SURE).sum()
    (every, found, more), (sure, found_sure, more_sure) = counts.tolist()
    return Matches(sure, found_sure, more_sure, every, found, more, *largest.tolist(), aside, len(theirs))
