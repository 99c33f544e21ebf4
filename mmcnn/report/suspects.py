"""Annotations that may be wrong: boxes that seem to be missing, boxes around nothing, boxes of another class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcnn.console.layout import number
from mmcnn.report.errors import RIGHT, Errors, Truth, box_overlaps, by_image
from mmcnn.report.scores import BACKGROUND, FOUND

#: Kinds of suspects.
MISSING, EMPTY, OTHER_CLASS = 'no box', 'nothing there', 'other class'
#: A detection of a missing box overlaps no object of any class by more than this; otherwise the object is misplaced.
_APART = 0.3
#: Overlap from which a detection supports another one. NMS has removed those of the same class that overlap it more.
_SUPPORTS = 0.3
#: Fraction of the correct detections with scores below the reference score.
_HIGH = 0.9
#: Minimum doubt for each kind: boxes of another class are rarely suspected without cause.
LEAST = {MISSING: 0.25, EMPTY: 0.25, OTHER_CLASS: 0.05}


@dataclass(frozen=True)
class Suspect:
    """An annotation to check.

    Attributes:
        kind: :data:`MISSING`, :data:`EMPTY` or :data:`OTHER_CLASS`.
        doubt: 0 to 1, the higher the more likely the annotation is wrong.
        image_id: id of the image.
        box: x, y, width, height in pixels of the image, of the annotation or of a missing one.
        category_id: category of the annotation; None: there is none.
        proposed: category that the detector proposes; None: nothing.
        annotation_id: its id in the file; None: there is none.
        reason: why, in a sentence.
    """

    kind: str
    doubt: float
    image_id: int
    box: tuple[float, float, float, float]
    category_id: int | None
    proposed: int | None
    annotation_id: int | None
    reason: str


def find_suspects(
    detections: np.ndarray, truth: Truth, annotation_ids: np.ndarray, errors: Errors, names: dict[int, str]
) -> list[Suspect]:
    """Return the suspects, the most doubtful first.

    Doubt is measured as a fraction of detections or objects, so that the kinds can be ranked together:

    - a missing box: the fraction of the detections of this class with at least this score that find an object, times
      the combined strength of this detection and those of any class that overlap it;
    - a box around nothing: the fraction of the objects of this class for which anything is detected, times how far the
      best evidence for this one (score times overlap, of any class) is below half of the median of theirs;
    - a box of another class: how much stronger the best detection of another class on it is than the best one of its
      own, times the fraction of the detections of that class with at least this score that find an object.

    The strength of a detection is its score relative to the score that a tenth of the correct detections exceed, at
    most 1: what a score is worth depends on the length of the training.

    Args:
        detections: (N, 7): image id, x, y, width, height in pixels, score, category id; including low scores.
        truth: the objects.
        annotation_ids: (G,) their ids in the file.
        errors: what each detection is.
        names: category id -> name.
    """
    precision, strength = _precision_from(detections, errors), _strength(detections, errors)
    evidence, rivals, own = _evidence(detections, truth)
    found = [*_missing(detections, truth, errors, precision, strength, names)]
    found += _empty(truth, annotation_ids, evidence, names)
    found += _of_other_class(detections, truth, annotation_ids, rivals, own, precision, strength, names)
    return sorted((each for each in found if each.doubt >= LEAST[each.kind]), key=lambda each: -each.doubt)


def _precision_from(detections: np.ndarray, errors: Errors) -> np.ndarray:
    """Return (N,) the fraction of correct detections of the class with at least the score of each."""
    shares = np.zeros(len(detections))
    for kind in np.unique(detections[:, 6]):
        own = np.flatnonzero((detections[:, 6] == kind) & (errors.kinds >= 0))
        own = own[np.argsort(-detections[own, 5], kind='stable')]
        right = np.cumsum(errors.kinds[own] == RIGHT)
        # One more wrong one: a few detections are little evidence.
        shares[own] = right / (np.arange(len(own)) + 2)
    return shares


def _strength(detections: np.ndarray, errors: Errors) -> np.ndarray:
    """Return (N,) scores relative to a high one of the correct ones, at most 1; 0 if none is correct."""
    right = detections[errors.kinds == RIGHT, 5]
    return (detections[:, 5] / np.quantile(right, _HIGH)).clip(max=1.0) if len(right) else np.zeros(len(detections))


def _evidence(detections: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each object the maximum of score times overlap, and its best detections of another and its own class.

    -1 if there is none.
    """
    count = len(truth.boxes)
    evidence, rivals, friends = np.zeros(count), np.full(count, -1), np.full(count, -1)
    for own, objects in by_image(detections, truth):
        if not len(objects) or not len(own):
            continue
        overlaps = box_overlaps(detections[own, 1:5], truth.boxes[objects])
        scores = detections[own, 5][:, None]
        same = detections[own, 6][:, None] == truth.category_ids[objects][None]
        evidence[objects] = (scores * overlaps).max(0)
        on = overlaps >= FOUND
        for best, which in ((rivals, on & ~same), (friends, on & same)):
            those = np.where(which, scores, 0.0)
            best[objects] = np.where(those.max(0) > 0, own[those.argmax(0)], -1)
    return evidence, rivals, friends


def _missing(detections, truth, errors, precision, strength, names):
    for own, objects in by_image(detections, truth):
        boxes = detections[own, 1:5]
        apart = box_overlaps(boxes, truth.boxes[objects]).max(1, initial=0.0) <= _APART
        near = box_overlaps(boxes, boxes)
        taken = np.zeros(len(own), bool)
        for i in np.argsort(-detections[own, 5], kind='stable'):
            if strength[own[i]] < LEAST[MISSING]:
                break
            if not apart[i] or taken[i] or errors.kinds[own[i]] < 0:
                continue
            supporters = (near[i] >= _SUPPORTS) & (np.arange(len(own)) != i) & ~taken
            taken |= near[i] >= _SUPPORTS
            score, kind = detections[own[i], 5], int(detections[own[i], 6])
            together = 1 - (1 - strength[own[i]]) * np.prod(1 - (detections[own, 5] * near[i])[supporters])
            text = f'{names[kind]} is detected with a score of {score:.2f} where no object has a box'
            if supporters.any():
                text += f'; {number(int(supporters.sum()), "more detection")} there'
            yield Suspect(
                MISSING, float(precision[own[i]] * together), int(detections[own[i], 0]),
                tuple(map(float, boxes[i])), None, kind, None, text,
            )  # fmt: skip


def _empty(truth, annotation_ids, evidence, names):
    for kind in np.unique(truth.category_ids[truth.counted]):
        places = np.flatnonzero(truth.counted & (truth.category_ids == kind))
        usual = float(np.median(evidence[places]))
        seen = float((evidence[places] > BACKGROUND * usual).mean())
        for i in places:
            if evidence[i] < usual / 2:
                text = f'nothing is detected on this {names[int(kind)]}, at any score'
                if evidence[i] > 0:
                    text = f'the best detection on this {names[int(kind)]} reaches {evidence[i]:.3f} (score x overlap)'
                yield Suspect(
                    EMPTY, seen * (1 - 2 * float(evidence[i]) / usual), int(truth.image_ids[i]),
                    tuple(map(float, truth.boxes[i])), int(kind), None, int(annotation_ids[i]),
                    f'{text}, but {usual:.2f} is usual',
                )  # fmt: skip


def _of_other_class(detections, truth, annotation_ids, rivals, friends, precision, strength, names):
    for i in np.flatnonzero(truth.counted & (rivals >= 0)):
        rival, friend = rivals[i], friends[i]
        lead = float(strength[rival] - (strength[friend] if friend >= 0 else 0.0))
        if lead > 0:
            said, written = names[int(detections[rival, 6])], names[int(truth.category_ids[i])]
            text = f'{said} is detected here with a score of {detections[rival, 5]:.2f}'
            text += f', {written} with {detections[friend, 5]:.2f}' if friend >= 0 else f', but no {written}'
            yield Suspect(
                OTHER_CLASS, lead * float(precision[rival]), int(truth.image_ids[i]),
                tuple(map(float, truth.boxes[i])), int(truth.category_ids[i]), int(detections[rival, 6]),
                int(annotation_ids[i]), text,
            )  # fmt: skip
