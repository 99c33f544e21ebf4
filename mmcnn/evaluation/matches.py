"""Matching of detections to objects at one IoU threshold, by COCO's rule, for all images at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

#: Limits of COCO's 'all' areas in square pixels; other objects are left out.
_LARGEST_AREA = 1e10
#: Number of pairs of a detection and an object in one chunk.
_PAIRS = 1 << 14


@dataclass(frozen=True)
class Objects:
    """The objects of an annotation file as arrays, in the file's order.

    Attributes:
        image_ids: (G,) int64.
        categories: (G,) int64, category ids.
        boxes: (G, 4) as x, y, width, height in pixels.
        crowd: (G,) bool.
        ignored: (G,) bool: crowds, and objects outside COCO's area limits.
    """

    image_ids: np.ndarray
    categories: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray

    @classmethod
    def of(cls, annotations: Iterable[Mapping]) -> Objects:
        """Return the objects of COCO annotations."""
        rows = [
            (
                each['image_id'],
                each['category_id'],
                bool(each.get('iscrowd')),
                each.get('area') or 0.0,
                each.get('bbox') or (0.0, 0.0, 0.0, 0.0),
            )
            for each in annotations
        ]
        image_ids, categories, crowd, areas, boxes = zip(*rows, strict=True) if rows else ((),) * 5
        crowd, areas = np.array(crowd, bool), np.array(areas, float)
        return cls(
            np.array(image_ids, np.int64), np.array(categories, np.int64), np.array(boxes, float).reshape(-1, 4),
            crowd, crowd | (areas < 0) | (areas > _LARGEST_AREA),
        )  # fmt: skip


def match(detections: np.ndarray, objects: Objects, threshold: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections COCO's evaluation counts, and which of these find an object.

    In the order of their scores, detections take the object of their image and class that they overlap most, unless
    it is already taken. A detection that finds no object but overlaps a crowd does not count; a crowd can match any
    number.

    Args:
        detections: (N, 7) of image id, x, y, width, height in pixels, score, category id.
        objects: The objects to find.
        threshold: The minimum IoU; for a crowd, the minimum share of the detection inside it.
        limit: Maximum number of counted detections of an image and class; the best ones count.

    Returns:
        (N,) bool, whether a detection counts, and (N,) bool, whether it finds an object.
    """
    groups, of_object = _groups(detections, objects)
    order = np.argsort(groups, kind='stable')
    groups = groups[order]
    counted, found = _within(limit, groups, order, detections[:, 5]), np.zeros(len(detections), bool)
    pairs = _near(detections[order, 1:5].T, groups, objects, of_object, threshold)
    own, of_pair, overlaps = order[pairs[0]], *pairs[1:]
    own, of_pair, overlaps = (each[counted[own]] for each in (own, of_pair, overlaps))
    # Of equal objects the last one is taken, of equal detections the first one takes it, as in COCO's evaluation.
    chosen = np.lexsort((-of_pair, -overlaps, objects.ignored[of_pair], own, -detections[own, 5]))
    taken, done = set(), set()
    for detection, each in zip(own[chosen].tolist(), of_pair[chosen].tolist(), strict=True):
        if detection in done or (each in taken and not objects.crowd[each]):
            continue
        done.add(detection)
        taken.add(each)
        if objects.ignored[each]:
            counted[detection] = False
        else:
            found[detection] = True
    return counted, found


def _groups(detections: np.ndarray, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for each image and class: of the detections (N,), and of the objects (G,)."""
    # Detections of an image are mostly adjacent, so each run of them needs only one look-up.
    images = detections[:, 0]
    first = np.flatnonzero(np.diff(images, prepend=np.nan) != 0)
    lengths = np.diff(first, append=len(images))
    image_ids = np.unique(np.concatenate([images[first].astype(np.int64), objects.image_ids]))
    categories = np.unique(np.concatenate([np.unique(detections[:, 6]).astype(np.int64), objects.categories]))
    of_detection = np.repeat(np.searchsorted(image_ids, images[first].astype(np.int64)), lengths) * len(categories)
    of_object = np.searchsorted(image_ids, objects.image_ids) * len(categories)
    return (
        of_detection + np.searchsorted(categories, detections[:, 6].astype(np.int64)),
        of_object + np.searchsorted(categories, objects.categories),
    )


def _within(limit: int, groups: np.ndarray, order: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (N,) bool: whether a detection is among the best of its group. ``groups`` have the stable ``order``."""
    within = np.ones(len(order), bool)
    if len(order) > limit and (groups[limit:] == groups[:-limit]).any():
        ranked = order[np.lexsort((-scores[order], groups))]
        within[ranked] = np.arange(len(order)) - np.searchsorted(groups, groups) < limit
    return within


def _near(
    boxes: np.ndarray, groups: np.ndarray, objects: Objects, of_object: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of a detection and an object of its group whose IoU is at least the threshold.

    Args:
        boxes: (4, N), boxes of the detections, in the order of their groups.
        groups: (N,), groups of the detections, ascending.
        objects: G objects.
        of_object: (G,), groups of the objects.
        threshold: IoU threshold.

    Returns:
        Three arrays (P,): index of the detection, index of the object, IoU.
    """
    first = np.searchsorted(groups, of_object)
    number = np.searchsorted(groups, of_object, side='right') - first
    ends = np.cumsum(number)
    found = [(np.empty(0, int), np.empty(0, int), np.empty(0))]
    start = 0
    while start < len(ends):  # in chunks, because all pairs of a large set do not fit into memory
        before = ends[start] - number[start]
        end = max(int(np.searchsorted(ends, before + _PAIRS, side='right')), start + 1)
        lengths = number[start:end]
        of_pair = np.repeat(np.arange(start, end), lengths)
        own = np.arange(len(of_pair)) + np.repeat(first[start:end] - ends[start:end] + lengths + before, lengths)
        overlaps = _overlaps(boxes[:, own], objects.boxes[of_pair].T, objects.crowd[of_pair])
        near = np.flatnonzero(overlaps >= threshold)
        found.append((own[near], of_pair[near], overlaps[near]))
        start = end
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def _overlaps(detections: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the IoU of pairs of boxes, (4, P) each, as COCO's mask API computes it."""
    x, y, w, h = detections
    left, top, width, height = objects
    across = np.minimum(w + x, width + left) - np.maximum(x, left)
    down = np.minimum(h + y, height + top) - np.maximum(y, top)
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    whole = np.where(crowd, w * h, w * h + width * height - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
