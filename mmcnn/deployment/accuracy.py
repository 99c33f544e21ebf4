"""AP of a detector in PyTorch and of its exported file, on the validation images of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from mmcnn.deployment.plan import Plan
from mmcnn.deployment.reference import predicted
from mmcnn.errors import ExportError
from mmcnn.runs.data import set_data
from mmcnn.runs.drawn_split import draw_of
from mmcnn.runs.exported_evaluation import data_and_metric, data_config, measured
from mmcnn.runs.results import by_name
from mmcnn.runtime import Detector

Say = Callable[[str], object]


@dataclass(frozen=True)
class Accuracy:
    """The loss of accuracy due to a precision.

    Attributes:
        before: AP (IoU 0.5 to 0.95) of the detector in PyTorch in float32.
        after: AP of the file.
        images: number of images.
    """

    before: float
    after: float
    images: int

    @property
    def loss(self) -> float:
        """Loss of AP; negative for a gain."""
        return self.before - self.after


class AccuracyCheck:
    """Measures the loss of accuracy due to a precision, and rejects a file that loses too much.

    Args:
        plan: plan of the export.
        say: takes the notes about the data, line by line.

    Raises:
        UsageError: the detector does not have the classes of the data.
        DataError: the data cannot be used.
        ExportError: AP is too low to detect a loss.
    """

    def __init__(self, plan: Plan, say: Say) -> None:
        self.plan, options = plan, plan.options
        self.config = data_config(plan.found.classes)
        trained = {'meta': {'dataset_meta': {'classes': plan.found.classes}}}
        set_data(self.config, options.data, trained, say=say, draw=draw_of(options))
        # The metric logs its tables to the current log, and an export has none.
        MMLogger.get_instance('export', logger_name='mmcnn', log_level='ERROR')
        self.before, self.images = self._ap(self._by_torch)
        if not self.before > options.max_loss:  # it may be NaN
            raise ExportError(
                f'not checked: AP in PyTorch is {self.before:.4f} on {self.images} images, so a loss of '
                f'max_loss={options.max_loss:g} cannot be detected; use data=PATH with images of its objects'
            )

    def __call__(self, path: Path) -> Accuracy:
        """Return AP before the export and that of a file.

        Raises:
            ExportError: the loss is greater than ``max_loss``.
        """
        detector = Detector(path, score_thr=self._least)
        after, images = self._ap(detector.find)
        found, most = Accuracy(self.before, after, images), self.plan.options.max_loss
        if not found.loss <= most:
            raise ExportError(
                f'precision={self.plan.options.precision} costs {found.loss:.4f} AP ({found.before:.4f} in PyTorch, '
                f'{found.after:.4f} in the file, {images} images), more than max_loss={most:g}'
            )
        return found

    @property
    def _least(self) -> float:
        """The lowest score that both sides report."""
        return self.plan.metadata().test_cfg['score_thr']

    def _by_torch(self, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        found = []
        for image in images:
            boxes, scores, labels = predicted(self.plan, image)
            sure = scores >= self._least  # a file of form nms may have another threshold than the config
            found.append((boxes[sure], scores[sure], labels[sure]))
        return found

    def _ap(self, find: Callable[[Sequence[np.ndarray]], Any]) -> tuple[float, int]:
        dataset, metric = data_and_metric(self.config)
        metrics, _ = by_name(measured(find, dataset, metric))
        return metrics['AP'], len(dataset)
