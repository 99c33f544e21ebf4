"""The effect of other validation images: AP of kept detections over resampled images, the same for all runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hotcoco import COCO, COCOeval
from scipy.sparse import csr_matrix

from mmcnn.errors import DataError

#: COCO's AP: 100 detections per class and image, all areas, 101 recall values.
_DETECTIONS, _AREAS, _RECALLS = 100, [[0.0, 1e10]], np.linspace(0.0, 1.0, 101)
#: Number of true positives times resamples that are processed together: 512 KiB of float64, which fits in caches.
_TOGETHER = 1 << 16


@dataclass(frozen=True)
class ClassMatches:
    """What happened to the detections of one class of one run, best score first.

    Attributes:
        objects: (I,) number of objects that count, in each image.
        images: (D,) index of each detection's image.
        found: (T, D) bool: it finds an object, at each IoU threshold.
        ignored: (T, D) bool: it does not count, as in a crowd.
    """

    objects: np.ndarray
    images: np.ndarray
    found: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Resamples:
    """AP of R runs on val and on B resamples of its images.

    Attributes:
        ap: (R,) on the original val, 0 to 1.
        resampled: (B, R).
        num_images: number of images in val.
    """

    ap: np.ndarray
    resampled: np.ndarray
    num_images: int

    def covariance(self, candidates: Sequence[Sequence[int]]) -> np.ndarray:
        """Return (k, k): the covariance of the candidates' mean AP between draws of the images.

        The bootstrap's covariance is (I - 1) / I of what it estimates, as for a mean (Efron & Tibshirani 1993, 5.3),
        which is corrected.

        Args:
            candidates: the indices of each candidate's runs.
        """
        means = np.stack([self.resampled[:, list(runs)].mean(axis=1) for runs in candidates], axis=1)
        return np.atleast_2d(np.cov(means, rowvar=False)) * self.num_images / (self.num_images - 1)


def resample(
    annotations: str | Path, runs: Iterable[np.ndarray], resamples: int = 1000, seed: int = 0
) -> Resamples:  # fmt: skip
    """Draw as many images as val has, with replacement and with all their objects and detections, repeatedly.

    The images are the clusters of the bootstrap, since detections in one image are dependent. All runs share the draws,
    so that what makes images hard for all of them cancels in differences. hotcoco matches detections and objects once;
    an image that was drawn twice counts twice.

    Args:
        annotations: COCO file of val.
        runs: (D, 7) for each, see :func:`~mmcnn.evaluation.kept_detections.read_detections`.
        resamples: number B.
        seed: seed of the draws.

    Raises:
        DataError: val has fewer than two images, or no objects.
    """
    coco = COCO(str(annotations))
    num_images = len(coco.get_img_ids())
    if num_images < 2 or not any(not each.get('iscrowd') for each in coco.dataset.get('annotations') or []):
        raise DataError(f'{annotations} has {num_images} images: resampling needs at least two with objects')
    draws = np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), size=resamples)
    weights = np.concatenate([np.ones((1, num_images), np.int64), draws])
    values = np.stack([average_precision(match_classes(coco, run), weights) for run in runs], axis=1)
    drawn = ~np.isnan(values[1:]).any(axis=1)  # a resample without any object has no AP
    return Resamples(values[0], values[1:][drawn], num_images)


def match_classes(coco: COCO, detections: np.ndarray) -> list[ClassMatches]:
    """Return hotcoco's matches of one run, for every class that has objects.

    Args:
        coco: annotations of val.
        detections: (D, 7), see :func:`~mmcnn.evaluation.kept_detections.read_detections`.
    """
    evaluation = COCOeval(coco, coco.load_res(detections), 'bbox')
    evaluation.params.areaRng, evaluation.params.areaRngLbl = _AREAS, ['all']
    evaluation.params.maxDets = [_DETECTIONS]
    evaluation.evaluate()
    places = {image: place for place, image in enumerate(sorted(coco.get_img_ids()))}
    of_class: dict[int, list[dict]] = {}
    for each in evaluation.eval_imgs:
        if each is not None:
            of_class.setdefault(each['category_id'], []).append(each)
    return [match for each in of_class.values() if (match := _merged(each, places)).objects.any()]


def average_precision(classes: Sequence[ClassMatches], weights: np.ndarray) -> np.ndarray:
    """Return (B,): COCO's AP (IoU 0.5 to 0.95), the mean over classes that have an object, with images weighted.

    It equals the AP of a data set that contains each image as often as its weight says, except for the order of equal
    scores of different images. NaN if no weighted image has an object.

    Args:
        classes: matches of the classes of one run.
        weights: (B, I) int, images in the order of their ids.
    """
    values = np.full((len(classes), len(weights)), np.nan)
    for place, each in enumerate(classes):
        step = max(_TOGETHER // max(int(each.found.sum(axis=1).max(initial=0)), 1), 1)
        for start in range(0, len(weights), step):
            values[place, start : start + step] = _class_precision(each, weights[start : start + step])
    counts = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), counts, out=np.full(len(weights), np.nan), where=counts > 0)


def _class_precision(matches: ClassMatches, weights: np.ndarray) -> np.ndarray:
    """Return (B,): AP of one class, NaN if no weighted image has an object of it.

    Between true positives precision only falls, so its envelope needs only their positions.
    """
    objects = weights @ matches.objects
    any_found = np.flatnonzero(matches.found.any(axis=0))
    seen = _counts_until(any_found, np.arange(len(matches.images)), matches.images, weights)
    offsets, reached = _recalls_reached(objects)
    total = np.zeros(len(weights))
    for found, ignored in zip(matches.found, matches.ignored, strict=True):
        at = np.flatnonzero(found)
        if not len(at):
            continue
        counted = seen[:, np.searchsorted(any_found, at)]
        if ignored.any():
            without = np.flatnonzero(ignored)
            counted = counted - _counts_until(at, without, matches.images[without], weights)
        true = np.cumsum(weights.take(matches.images[at], axis=1), axis=1)
        precision = true / (counted + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recalls = reached.take(true + offsets[:, None])
        recalls[:, 1:] -= recalls[:, :-1].copy()
        total += np.einsum('bp,bp->b', envelope, recalls)
    mean = total / (len(matches.found) * len(_RECALLS))
    return np.where(objects > 0, mean, np.nan)


def _counts_until(ends: np.ndarray, places: np.ndarray, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (B, E): how many of the detections at ``places`` (N,), in ``images`` (N,), are before each of ``ends``."""
    rows = np.searchsorted(ends, places)
    inside = rows < len(ends)
    entries = np.ones(int(inside.sum()), np.int64), (rows[inside], images[inside])
    counts = csr_matrix(entries, shape=(len(ends), weights.shape[1])) @ weights.T
    return np.cumsum(np.ascontiguousarray(counts.T), axis=1)


def _recalls_reached(objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of the 101 recalls so many true positives reach: ``(offsets (B,), numbers)``, concatenated.

    They are looked up, since the quotient must be compared exactly as in COCO.
    """
    numbers, which = np.unique(objects, return_inverse=True)
    rows = [np.searchsorted(_RECALLS, np.arange(n + 1) / max(n, 1), side='right') for n in numbers]
    starts = np.cumsum([0, *map(len, rows)])[:-1]
    return starts[which], np.concatenate(rows).astype(np.float64)


def _merged(entries: Iterable[dict], places: dict[int, int]) -> ClassMatches:
    """Return the matches of a class's images as one list, best score first; equal scores in the order of the images."""
    objects = np.zeros(len(places), np.int64)
    images, scores, matched, ignored = [], [], [], []
    for each in sorted(entries, key=lambda entry: places[entry['image_id']]):
        place = places[each['image_id']]
        objects[place] = len(each['gtIgnore']) - sum(each['gtIgnore'])
        images.append(np.full(len(each['dtScores']), place))
        scores.append(each['dtScores'])
        matched.append(np.array(each['dtMatched'], bool))
        ignored.append(np.array(each['dtIgnore'], bool))
    order = np.argsort(-np.concatenate(scores), kind='stable')
    matched, ignored = (np.concatenate(part, axis=1)[:, order] for part in (matched, ignored))
    return ClassMatches(objects, np.concatenate(images)[order], matched & ~ignored, ignored)
