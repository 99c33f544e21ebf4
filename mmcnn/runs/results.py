"""The return values of a training and an evaluation; nothing here imports PyTorch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from mmcnn.console.layout import NOTHING, nothing_measured

#: Names of COCO's numbers here, and in MMEngine's log.
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
#: What the number k of a top-k accuracy follows there.
TOP = 'accuracy/'
#: What the name of a class follows in MMEngine's log.
CLASS_AP = 'coco/bbox_AP/'
#: Numbers that sum a result up, in this order, and how they are written.
MAIN = {'AP': 'AP', 'AP50': 'AP50', 'top1': 'top-1'}


@dataclass(frozen=True, repr=False)
class EvaluateResult:
    """The result of an evaluation.

    Attributes:
        work_dir: folder with ``metrics.json``.
        checkpoint: what was evaluated.
        metrics: of a detector the 12 COCO numbers ``AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl``, between 0
            and 1, -1 where no object has this size, or NaN where there is no object at all; of a classifier ``top1``
            and ``top5`` in percent (of fewer than five classes ``top1`` and, say, ``top3``). What other metrics of the
            config give stands there under MMEngine's name.
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
        work_dir: folder with checkpoints, log and pictures.
        best: the checkpoint with the best validation; None without any.
        last: the checkpoint to resume from; None without any.
        metrics: of the last validation, named as in :class:`EvaluateResult`; empty without any.
        class_ap: AP of each class by its name, in the last validation; NaN for a class without objects.
        history: a dict for each epoch, in order: ``epoch`` (from 1), the means of the training losses over it (``loss``
            and its parts) and, where there was a validation, its metrics. It covers the epochs before a resume, too.
            A training that counts iterations has a dict for each validation, with ``iteration`` in place of ``epoch``.
            ``pandas.DataFrame(result.history)`` is a table of it.
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
    """Metrics and AP of each class, from numbers under MMEngine's names.

    What is no number is left out.
    """
    short = {key: name for name, key in NAMES.items()}
    numbers = {key: float(value) for key, value in logged.items() if isinstance(value, Real)}
    class_ap = {key.removeprefix(CLASS_AP): value for key, value in numbers.items() if key.startswith(CLASS_AP)}
    metrics = {
        short.get(key, key.removeprefix(TOP)): value for key, value in numbers.items() if not key.startswith(CLASS_AP)
    }
    return metrics, class_ap


def main_numbers(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Those that sum a result up, as they are written: AP and AP50, or top-1; none where nothing was measured."""
    return [(label, metrics[name]) for name, label in MAIN.items() if name in metrics and not nothing_measured(metrics)]


def nothing_rows(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return a labelled row in place of numbers where there was nothing to measure by."""
    return [('result', NOTHING)] if nothing_measured(metrics) else []


def write_metrics(folder: Path, checkpoint: str, logged: Mapping[str, Any]) -> Path:
    """Store the numbers of an evaluation, under MMEngine's names, in ``metrics.json``; what is NaN as null."""
    numbers = {key: None if math.isnan(value) else value for key, value in logged.items()
               if isinstance(value, int | float)}  # fmt: skip
    text = json.dumps(dict(checkpoint=checkpoint, **numbers), indent=2, ensure_ascii=False)
    file = folder / 'metrics.json'
    file.write_text(f'{text}\n', encoding='utf-8')
    return file


def _in_short(metrics: Mapping[str, float]) -> str:
    return ''.join(f'{name}={metrics[name]:.4g}, ' for name in MAIN if name in metrics)
