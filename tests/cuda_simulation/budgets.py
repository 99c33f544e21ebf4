"""Budgets: how often each recipe may make the host wait for the device, and how many kernels it may start.

The numbers are in budgets.json, one line for each recipe, precision and batch size. They are upper bounds close to what
is measured; when a number falls, ``python -m tests.cuda_simulation.measure --write-budgets`` lowers its budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .recipes import PRECISIONS, RECIPES, Training

PATH = Path(__file__).with_name('budgets.json')
#: Images per batch.
BATCH_SIZES = (4, 12)
#: The goals, the same in every precision and for every batch size.
_PREDICTION = dict(predict_waits=4, nms_waits=2)
GOALS = {
    **{name: dict(step_waits=4, **_PREDICTION) for name in ('yolov4', 'yolov4_darknet', 'yolov5')},
    'yolov3': dict(step_waits=60, **_PREDICTION),
    'faster_rcnn': dict(step_waits=131, **_PREDICTION),
}
#: (recipe, goal, batch size) of the goals that are missed.
MISSED: set[tuple[str, str, int]] = set()
#: Share of a budget that has to be used, so that the budget stays tight.
USED = 0.9
#: Numbers that depend on the detections: NMS needs a second pass for a long chain of boxes that suppress each other,
#: and whether there is one depends on the machine's rounding. The budget allows two passes; one is not too few.
OF_DETECTIONS = ('nms_waits', 'predict_kernels')


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Waits and kernels of the last training step and of the last batch of a validation.

    Attributes:
        step_waits: waits in a training step, including the hooks after it.
        step_kernels: kernels that it starts.
        predict_waits: waits in a prediction, without those in NMS and in the metric.
        nms_waits: waits in its NMS.
        evaluate_waits: waits in the metric.
        predict_kernels: kernels of a prediction.
    """

    step_waits: int
    step_kernels: int
    predict_waits: int
    nms_waits: int
    evaluate_waits: int
    predict_kernels: int


def measured(training: Training) -> Budget:
    """The waits and kernels of a training."""
    step, predict, evaluate = (each[-1] for each in (training.steps, training.predictions, training.evaluations))
    return Budget(
        step_waits=step.waits.total(),
        step_kernels=step.kernels.total(),
        predict_waits=predict.waits.total() - predict.waits_in_nms,
        nms_waits=predict.waits_in_nms,
        evaluate_waits=evaluate.waits.total(),
        predict_kernels=predict.kernels.total(),
    )


def renewed(old: Budget | None, taken: Budget) -> Budget:
    """The new budget: what was taken, or the old number for those of OF_DETECTIONS where it is larger."""
    if old is None:
        return taken
    return replace(taken, **{name: max(getattr(old, name), getattr(taken, name)) for name in OF_DETECTIONS})


def complaints(taken: Budget, budget: Budget) -> Iterator[str]:
    """One sentence for each number that exceeds its budget or is too far below it."""
    for name, number in asdict(taken).items():
        bound = getattr(budget, name)
        if number > bound:
            yield f'{name} are {number}, more than the budget of {bound}'
        elif number < USED * bound and name not in OF_DETECTIONS:
            yield f'{name} are {number}, fewer than the budget of {bound}: lower it in {PATH.name}'


def cases() -> Iterator[tuple[str, str, int]]:
    """Recipe, precision and batch size of every budget."""
    for recipe in RECIPES:
        for precision in PRECISIONS:
            yield from (
                (recipe, precision, size) for size in BATCH_SIZES if size == BATCH_SIZES[0] or precision == 'fp32'
            )


def read() -> dict[tuple[str, str, int], Budget]:
    """Reads the budgets by (recipe, precision, batch size)."""
    return {
        (row.pop('recipe'), row.pop('precision'), row.pop('batch_size')): Budget(**row)
        for row in json.loads(PATH.read_text())
    }


def write(budgets: dict[tuple[str, str, int], Budget]) -> None:
    """Writes the budgets, one line each, in the order of :func:`cases`."""
    lines = [
        json.dumps(dict(zip(('recipe', 'precision', 'batch_size'), case, strict=True)) | asdict(budgets[case]))
        for case in cases()
        if case in budgets
    ]
    PATH.write_text('[\n' + ',\n'.join(lines) + '\n]\n')
