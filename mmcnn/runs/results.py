"""The return values of a training and an evaluation; this module does not import PyTorch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from mmcnn.console.layout import NOTHING, nothing_measured

#: Names of COCO's metrics here, and in MMEngine's log.
NAMES = {
    'AP': 'coco/bbox_mAP',
    'AP50': 'coco/bbox_mAP_50',
    'AP75': 'coco/bbox_mAP_75',
    'APs': 'coco/bbox_mAP_s',
    'APm': 'coco/bbox_mAP_m',
    'APl': 'coco/bbox_mAP_l',
    'AR1': 'coco/bbox_AR@1',
    'AR10': 'coco/bbox_AR@10',
    'AR100': 'coco/bbox_AR@100',
    'ARs': 'coco/bbox_AR_s@100',
    'ARm': 'coco/bbox_AR_m@100',
    'ARl': 'coco/bbox_AR_l@100',
}
#: Prefix of the k of a top-k accuracy in the log.
TOP = 'accuracy/'
#: Prefix of a class name in MMEngine's log.
CLASS_AP = 'coco/bbox_AP/'
#: Metrics that summarise a result, in this order, and their format.
MAIN = {'AP': 'AP', 'AP50': 'AP50', 'top1': 'top-1'}


@dataclass(frozen=True, repr=False)
class EvaluateResult:
    """The result of an evaluation.

    Attributes:
        work_dir: folder with ``metrics.json``.
        checkpoint: the evaluated checkpoint.
        metrics: for a detector the 12 COCO metrics ``AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl``, between 0
            and 1, -1 if no object has this size, or NaN if there are no objects; for a classifier ``top1`` and
            ``top5`` in percent (with fewer than five classes ``top1`` and, for example, ``top3``). Other metrics of
            the config have MMEngine's names.
        class_ap: AP of each class by its name; NaN for a class without objects.
    """

    work_dir: Path
    checkpoint: Path
    metrics: dict[str, float] = field(default_factory=dict)
    class_ap: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f'EvaluateResult({_in_short(self.metrics)}checkpoint={str(self.checkpoint)!r})'


@dataclass(frozen=True, repr=False)
class TrainResult:
    """The result of a training.

    Attributes:
        work_dir: folder with checkpoints, log and plots.
        best: the checkpoint with the best validation; None if there is none.
        last: the checkpoint to resume from; None if there is none.
        metrics: metrics of the last validation, named as in :class:`EvaluateResult`; empty if there was none.
        class_ap: AP of each class by its name, in the last validation; NaN for a class without objects.
        history: a dict for each epoch, in order: ``epoch`` (from 1), the means of the training losses (``loss`` and its
            parts) and, if there was a validation, its metrics. It includes the epochs before a resume. A training that
            counts iterations has a dict for each validation, with ``iteration`` in place of ``epoch``.
            ``pandas.DataFrame(result.history)`` makes a table of it.
    """

    work_dir: Path
    best: Path | None = None
    last: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    class_ap: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        iterations = self.history[-1].get('iteration') if self.history else None
        length = f'epochs={len(self.history)}' if iterations is None else f'iterations={iterations}'
        return f'TrainResult({_in_short(self.metrics)}{length}, work_dir={str(self.work_dir)!r})'


def by_name(logged: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return metrics and AP of each class, from metrics with MMEngine's names.

    Values that are not numbers are dropped.
    """
    short = {key: name for name, key in NAMES.items()}
    numbers = {key: float(value) for key, value in logged.items() if isinstance(value, Real)}
    class_ap = {key.removeprefix(CLASS_AP): value for key, value in numbers.items() if key.startswith(CLASS_AP)}
    metrics = {
        short.get(key, key.removeprefix(TOP)): value for key, value in numbers.items() if not key.startswith(CLASS_AP)
    }
    return metrics, class_ap


def main_numbers(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the formatted metrics that summarise a result: AP and AP50, or top-1; none if nothing was measured."""
    return [(label, metrics[name]) for name, label in MAIN.items() if name in metrics and not nothing_measured(metrics)]


def nothing_rows(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return a labelled row in place of metrics if there was nothing to measure."""
    return [('result', NOTHING)] if nothing_measured(metrics) else []


def write_metrics(folder: Path, checkpoint: str, logged: Mapping[str, Any], precision: str | None = None) -> Path:
    """Write the metrics of an evaluation, with MMEngine's names, to ``metrics.json``; NaN becomes null.

    Args:
        folder: the work dir.
        checkpoint: path of the weights.
        logged: the metrics.
        precision: name of the mixed precision; None: there is none.
    """
    numbers = {key: None if math.isnan(value) else value for key, value in logged.items()
               if isinstance(value, int | float)}  # fmt: skip
    of_precision = {} if precision is None else dict(precision=precision)
    text = json.dumps(dict(checkpoint=checkpoint, **of_precision, **numbers), indent=2, ensure_ascii=False)
    file = folder / 'metrics.json'
    file.write_text(f'{text}\n', encoding='utf-8')
    return file


def _in_short(metrics: Mapping[str, float]) -> str:
    return ''.join(f'{name}={metrics[name]:.4g}, ' for name in MAIN if name in metrics)
