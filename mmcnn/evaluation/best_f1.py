"""The score from which on detections are best shown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def best_f1_score(
    scores: np.ndarray, found: np.ndarray, classes: np.ndarray, num_objects: Mapping[int, int]
) -> float | None:
    """The score at which the mean F1 of the classes is best.

    F1 = 2 TP / (detections + objects) of those detections that have this score or a higher one. Between that and the
    next lower score of a detection F1 is the same; the middle is taken, so that rounding changes nothing.

    Args:
        scores: (N,), of all detections that count.
        found: (N,) bool, whether a detection was matched with an object.
        classes: (N,), class of each detection.
        num_objects: number of objects of each class; the mean is over those that have some.

    Returns:
        the score; of several that are as good the highest; None where no score finds anything.
    """
    # Candidates from high to low; those of one score count together.
    candidates = np.unique(scores)[::-1]
    f1 = np.zeros(len(candidates))
    for kind, count in num_objects.items():
        if count:
            own = classes == kind
            order = np.argsort(-scores[own], kind='stable')
            hits = np.concatenate([[0], np.cumsum(found[own][order])])
            shown = np.searchsorted(-scores[own][order], -candidates, side='right')
            f1 += 2 * hits[shown] / (shown + count)
    if not f1.any():
        return None
    best = int(np.argmax(f1))
    return float(candidates[best : best + 2].mean())
