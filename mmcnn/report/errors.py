"""Kinds of errors as defined by TIDE: what each detection is, and why each object is not found.

Source: Bolya, Foley, Hays, Hoffman, TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmcnn.report.scores import BACKGROUND, FOUND, Matches

#: What a detection can be.
DETECTION_KINDS = ('right', 'duplicate', 'wrongly placed', 'confused', 'both', 'background')
#: What can happen to an object: the middle two have a detection that is nearly right, the last has none.
OBJECT_KINDS = ('found', 'wrongly placed', 'confused', 'missed')
RIGHT, DUPLICATE, MISPLACED, CONFUSED, BOTH, ON_BACKGROUND = range(6)
NOT_COUNTED = -1


@dataclass(frozen=True)
class Truth:
    """The objects of an annotation file as arrays, in its order.

    Attributes:
        image_ids, category_ids: (G,).
        boxes: (G, 4) x, y, width, height in pixels of the image.
        counted: (G,) bool: not a crowd, and of a class that is evaluated.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    counted: np.ndarray

    @classmethod
    def of(cls, coco: Mapping, category_ids: Sequence[int]) -> Truth:
        """Return the annotations of a COCO dict; those of other categories are not counted."""
        boxes = coco['annotations']
        kinds = np.array([each['category_id'] for each in boxes], int)
        return cls(
            np.array([each['image_id'] for each in boxes], int), kinds,
            np.array([each['bbox'] for each in boxes], float).reshape(-1, 4),
            np.array([not each.get('iscrowd') for each in boxes], bool) & np.isin(kinds, category_ids),
        )  # fmt: skip


@dataclass(frozen=True)
class Errors:
    """What each detection is, and what happened to each object.

    Attributes:
        kinds: (N,) indices of :data:`DETECTION_KINDS`; :data:`NOT_COUNTED` if COCO does not count the detection.
        about: (N,) index of the object that a detection finds or nearly finds; -1: none.
        scores: (N,) scores of the detections.
        objects: (G,) bool: which annotations are objects that count.
    """

    kinds: np.ndarray
    about: np.ndarray
    scores: np.ndarray
    objects: np.ndarray

    def of_objects(self, score: float = 0.0) -> np.ndarray:
        """Return (G,) indices of :data:`OBJECT_KINDS`, using only detections with at least this score.

        Detections are matched to objects in the order of their scores, so omitting the lowest changes nothing for the
        others. Crowds and classes that are not evaluated are :data:`NOT_COUNTED`.
        """
        found = np.where(self.objects, len(OBJECT_KINDS) - 1, NOT_COUNTED)
        shown = (self.scores >= score) & (self.about >= 0)
        for kind, place in ((CONFUSED, 2), (MISPLACED, 1), (RIGHT, 0)):
            about = self.about[shown & (self.kinds == kind)]
            found[about[self.objects[about]]] = place
        return found

    def counts(self, score: float = 0.0) -> dict[str, int]:
        """Return kind -> number of errors of detections with at least this score, and of ``missed`` objects."""
        shown = self.kinds[self.scores >= score]
        numbers = {name: int((shown == i).sum()) for i, name in enumerate(DETECTION_KINDS) if i != RIGHT}
        return {'missed': int((self.of_objects(score) == len(OBJECT_KINDS) - 1).sum()), **numbers}


def classify(detections: np.ndarray, truth: Truth, matches: Matches) -> Errors:
    """Classify the errors of detections.

    A detection that finds no object is *wrongly placed* if it overlaps one of its class by 0.1 to 0.5, *confused* if it
    overlaps one of another class by 0.5 or more, a *duplicate* if it overlaps one of its class by as much that another
    detection has found, on *background* if it overlaps none by more than 0.1, otherwise *both* misplaced and confused.

    Args:
        detections: (N, 7): image id, x, y, width, height in pixels, score, category id.
        truth: the objects.
        matches: the matches of detections and objects at IoU 0.5.
    """
    kinds, about = np.full(len(detections), NOT_COUNTED), np.full(len(detections), -1)
    for own, objects in by_image(detections, truth):
        own = own[matches.counted[own]]
        if not len(own):
            continue
        overlaps = box_overlaps(detections[own, 1:5], truth.boxes[objects])
        same = detections[own, 6][:, None] == truth.category_ids[objects][None]
        of_class, of_other = np.where(same, overlaps, 0.0), np.where(same, 0.0, overlaps)
        none = np.zeros(len(own))
        best, other = (each.max(1) if len(objects) else none for each in (of_class, of_other))
        found = np.where(np.maximum(best, other) > BACKGROUND, BOTH, ON_BACKGROUND)
        found[best >= FOUND] = DUPLICATE
        found[other >= FOUND] = CONFUSED
        found[(best >= BACKGROUND) & (best < FOUND)] = MISPLACED
        found[matches.finds[own] >= 0] = RIGHT
        kinds[own] = found
        if len(objects):
            nearest = np.where(found == CONFUSED, of_other.argmax(1), of_class.argmax(1))
            is_about = (found != ON_BACKGROUND) & (found != BOTH)
            about[own] = np.where(is_about, objects[nearest], -1)
        right = own[found == RIGHT]
        about[right] = matches.finds[right]
    return Errors(kinds, about, detections[:, 5], truth.counted)


def by_image(detections: np.ndarray, truth: Truth) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each image with detections, the indices of these and of its objects that count."""
    order = np.argsort(detections[:, 0], kind='stable')
    ids, first = np.unique(detections[order, 0], return_index=True)
    of_image = {int(each): np.empty(0, int) for each in ids}
    places = np.flatnonzero(truth.counted)
    sorted_places = places[np.argsort(truth.image_ids[places], kind='stable')]
    images, starts = np.unique(truth.image_ids[sorted_places], return_index=True)
    of_image |= dict(zip(images.tolist(), np.split(sorted_places, starts[1:]), strict=True)) if len(images) else {}
    for each, own in zip(ids, np.split(order, first[1:]), strict=True) if len(ids) else ():
        yield own, of_image[int(each)]


def box_overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU (N, M) of boxes (N, 4) and (M, 4), both x, y, width, height."""
    one, two = boxes[:, None], others[None]
    low = np.maximum(one[..., :2], two[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    whole = one[..., 2:].prod(-1) + two[..., 2:].prod(-1) - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
