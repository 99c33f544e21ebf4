"""COCO's summary numbers from the arrays of an evaluation, under MMDetection's names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmcnn.console.layout import aligned, one_line, shortened
from mmcnn.errors import UsageError

#: Numbers of detections of a class in an image that AR counts; the largest is AP's limit in COCO.
LIMITS = (1, 10, 100)
# mmdet's names, in the order of COCO's summary.
_PRECISIONS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_SIZES = ('s', 'm', 'l')


def summary_keys(limits: Sequence[int] = LIMITS) -> tuple[str, ...]:
    """Return the names of the metrics: six of AP, AR at each limit, and AR of each size at the largest limit."""
    recalls = [f'AR@{limit}' for limit in limits] + [f'AR_{size}@{limits[-1]}' for size in _SIZES]
    return tuple(f'bbox_{name}' for name in (*_PRECISIONS, *recalls))


def summary(
    precision: np.ndarray, recall: np.ndarray, thresholds: np.ndarray, limits: Sequence[int]
) -> dict[str, float]:
    """Return the metrics by the names of :func:`summary_keys`.

    Args:
        precision: (IoU threshold, recall, category, area range), -1 if there are no objects.
        recall: (IoU threshold, category, area range, limit), the same.
        thresholds: IoU thresholds.
        limits: numbers of detections.
    """
    values = [precision[..., 0], *(precision[np.isclose(thresholds, each), ..., 0] for each in (0.5, 0.75))]
    values += [precision[..., 1 + i] for i in range(len(_SIZES))]
    values += [recall[:, :, 0, i] for i in range(len(limits))]
    values += [recall[:, :, 1 + i, -1] for i in range(len(_SIZES))]
    return {key: _mean(value) for key, value in zip(summary_keys(limits), values, strict=True)}


def checked_limits(limits: Sequence[int]) -> list[int]:
    """Return ``proposal_nums`` in ascending order.

    Raises:
        UsageError: A value is not a number of detections.
    """
    limits = [limits] if isinstance(limits, int) else list(limits)
    if not limits or any(type(each) is not int or each < 1 for each in limits):
        raise UsageError(
            f'CocoMetric: proposal_nums={limits}: the values must be numbers of detections, such as {LIMITS}'
        )
    return sorted(set(limits))


def checked_thresholds(thresholds: float | Sequence[float] | None) -> list[float] | None:
    """Return ``iou_thrs`` in ascending order; None: COCO's thresholds.

    Raises:
        UsageError: A value is not an IoU.
    """
    if thresholds is None:
        return None
    values = [float(each) for each in np.atleast_1d(thresholds)]
    if not values or not all(0 < each <= 1 for each in values):
        raise UsageError(f'CocoMetric: iou_thrs={thresholds}: thresholds must be above 0 and at most 1, such as 0.5')
    return sorted(values)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the measured values; -1 if there are none, as in pycocotools."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def class_rows(
    names: Sequence[str], num_objects: Sequence[int], of_class: np.ndarray, thresholds: np.ndarray
) -> list[tuple[str, int, float, float, float]]:
    """Return class, objects, AP, AP50 and AP75 of each class; NaN if there are no objects or no such threshold.

    Args:
        names: names of the classes.
        num_objects: number of objects of each class.
        of_class: (class, IoU threshold), -1 if there are no objects.
        thresholds: IoU thresholds.
    """
    values = np.where(of_class > -1, of_class, np.nan)
    places = [np.flatnonzero(np.isclose(thresholds, each))[:1] for each in (0.5, 0.75)]
    missing = np.full(len(names), np.nan)
    columns = [values.mean(axis=1), *(values[:, place[0]] if place.size else missing for place in places)]
    return list(zip(names, num_objects, *columns, strict=True))


def class_keys(names: Sequence[str]) -> list[str]:
    """Return the names as parts of keys: on one line, because the log has one line for all, and distinct."""
    keys = [one_line(name) for name in names]
    return [key if keys.count(key) == 1 else repr(name) for key, name in zip(keys, names, strict=True)]


def class_table(rows: Sequence[tuple[str, int, float, float, float]]) -> str:
    """Return rows of class, objects, AP, AP50 and AP75 as a table."""
    cells = [[shortened(name), str(count), *(f'{value:.3f}' for value in values)] for name, count, *values in rows]
    return aligned(['class', 'boxes', 'AP', 'AP50', 'AP75'], cells)
