"""The best score threshold for showing detections, by F1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def best_f1_score(
    scores: np.ndarray, found: np.ndarray, classes: np.ndarray, num_objects: Mapping[int, int]
) -> float | None:
    """Return the score at which the mean F1 of the classes is best.

    F1 = 2 TP / (detections + objects) of the detections with at least this score. F1 is constant between a score and
    the next lower one; the middle is returned, so that rounding has no effect.

    Args:
        scores: (N,), of all counted detections.
        found: (N,) bool, whether a detection was matched with an object.
        classes: (N,), class of each detection.
        num_objects: number of objects of each class; the mean is over classes with objects.

    Returns:
        the score; the highest of several equally good ones; None if no detection finds an object.
    """
    if not found.any():
        return None
    # The best F1 is always at the score of a matched detection.
    candidates = np.unique(scores[found])[::-1]
    f1 = np.zeros(len(candidates))
    order = np.argsort(classes, kind='stable')
    kinds, first = np.unique(classes[order], return_index=True)
    own = dict(zip(kinds.tolist(), np.split(order, first[1:]), strict=True))
    for kind, count in num_objects.items():
        if count and kind in own:
            of_kind = scores[own[kind]]
            hits, shown = (_at_least(values, candidates) for values in (of_kind[found[own[kind]]], of_kind))
            f1 += 2 * hits / (shown + count)
    if not f1.any():
        return None
    best = candidates[np.argmax(f1)]
    lower = scores[scores < best]
    return float((best + lower.max()) / 2 if lower.size else best)


def _at_least(values: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return how many of the values are at least each candidate."""
    return len(values) - np.searchsorted(np.sort(values), candidates)
