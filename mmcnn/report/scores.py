"""COCO's metrics of a run's detections in the detail that a report shows, computed by hotcoco."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from hotcoco import COCO, COCOeval

from mmcnn.evaluation.coco_summary import LIMITS, class_rows, summary
from mmcnn.evaluation.object_counts import objects_of_classes

#: IoU from which a detection finds an object, and up to which it is on background.
FOUND, BACKGROUND = 0.5, 0.1
#: Names of COCO's twelve metrics, in the order of its summary.
NAMES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')
#: hotcoco's names of the kinds of errors, and ours.
_MENDED = {
    'Miss': 'missed', 'Dupe': 'duplicate', 'Loc': 'wrongly placed', 'Cls': 'confused', 'Both': 'both',
    'Bkg': 'background',
}  # fmt: skip


@dataclass(frozen=True)
class Matches:
    """COCO's matches at IoU 0.5.

    Attributes:
        finds: (N,) for each detection the index of the object that it finds, -1: none.
        counted: (N,) bool: COCO counts it; not in a crowd, and among the first 100 of an image and class.
    """

    finds: np.ndarray
    counted: np.ndarray


class Scores:
    """COCO's evaluation of detections.

    Args:
        ann_file: COCO annotations of the images.
        coco: content of the file.
        detections: (N, 7): image id, x, y, width, height in pixels of the image, score, category id.
        classes: names of the classes that are evaluated, in the order of the detector.

    Attributes:
        classes: the names of the classes.
        category_ids: the id of each class.
    """

    def __init__(self, ann_file: str | Path, coco: Mapping, detections: np.ndarray, classes: Sequence[str]) -> None:
        ids = {each['name']: each['id'] for each in coco['categories']}
        self.classes, self.category_ids = tuple(classes), [ids[name] for name in classes]
        self._coco, self._detections = coco, np.asarray(detections, float).reshape(-1, 7)
        self._truth = COCO(str(ann_file))
        self._evaluation = COCOeval(self._truth, self._truth.load_res(self._detections), 'bbox')
        self._evaluation.params.catIds = sorted(self.category_ids)
        self._evaluation.evaluate()
        self._evaluation.accumulate()

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The twelve metrics by :data:`NAMES`; -1 if no object has this size."""
        precision, recall = self._evaluation.eval['precision'], self._evaluation.eval['recall']
        values = summary(precision[..., -1], recall, self._thresholds, LIMITS)
        return dict(zip(NAMES, values.values(), strict=True))

    @cached_property
    def of_classes(self) -> list[tuple[str, int, float, float, float]]:
        """Class, number of objects, AP, AP50 and AP75 of each class."""
        counts = objects_of_classes(self._truth, self.category_ids)
        values = self._precision.mean(axis=1).T
        return class_rows(self.classes, [counts[each] for each in self.category_ids], values, self._thresholds)

    def precision_at(self, iou: float) -> np.ndarray:
        """Return (class, 101) precision at each recall of 0, 0.01 ... 1; -1 for a class without objects."""
        return self._precision[int(np.flatnonzero(np.isclose(self._thresholds, iou))[0])].T

    @cached_property
    def cost(self) -> dict[str, float]:
        """Kind of error -> gain of AP50 without it (TIDE, Bolya et al. 2020)."""
        return {ours: float(self._tide['delta_ap'][theirs]) for theirs, ours in _MENDED.items()}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Kind of error -> number of errors, of detections with any score."""
        return {ours: int(self._tide['counts'][theirs]) for theirs, ours in _MENDED.items()}

    def confusion(self, score: float) -> np.ndarray:
        """Return (K + 1, K + 1) counts at IoU 0.5: rows are classes of objects, columns those of detections.

        The last column has the missed objects, the last row the detections on background. Regardless of class,
        detections match objects in the order of their scores.

        Args:
            score: minimum score of a detection.
        """
        found = self._evaluation.confusion_matrix(iou_thr=FOUND, max_det=LIMITS[-1], min_score=score)
        places = [found['cat_ids'].index(each) for each in self.category_ids] + [found['num_cats']]
        return np.asarray(found['matrix'], int)[np.ix_(places, places)]

    @cached_property
    def matches(self) -> Matches:
        """See :class:`Matches`; indices are those of the annotations in the file."""
        found = self._evaluation.image_diagnostics(iou_thr=FOUND)
        place = {each['id']: i for i, each in enumerate(self._coco['annotations'])}
        finds = np.full(len(self._detections), -1)
        counted = np.zeros(len(self._detections), bool)
        for number, status in found['dt_status'].items():  # hotcoco numbers the rows from 1
            counted[number - 1] = status in ('tp', 'fp')
        for number, annotation in found['dt_match'].items():
            if counted[number - 1]:
                finds[number - 1] = place[annotation]
        return Matches(finds, counted)

    @cached_property
    def _tide(self) -> dict[str, dict[str, float]]:
        return self._evaluation.tide_errors(pos_thr=FOUND, bg_thr=BACKGROUND)

    @property
    def _thresholds(self) -> np.ndarray:
        return np.asarray(self._evaluation.params.iouThrs)

    @property
    def _precision(self) -> np.ndarray:
        """Return (IoU threshold, recall, class) for all sizes and 100 detections, classes in our order."""
        order = np.argsort(np.argsort(self.category_ids))
        return self._evaluation.eval['precision'][:, :, order, 0, -1]
