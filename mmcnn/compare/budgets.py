"""Budgets: trainings of equal seconds or multiply-adds, and a time for everything, by successive halving."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

from mmengine.config import Config

from mmcnn.compare import halving
from mmcnn.compare.candidates import Candidate
from mmcnn.compare.network import multiply_adds
from mmcnn.compare.trainings import Run
from mmcnn.errors import UsageError
from mmcnn.plots.curves import training_seconds

#: Trains runs until an epoch; None: to the end.
Train = Callable[[Sequence[Run], int | None], None]


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast a candidate trains.

    Attributes:
        seconds_per_epoch: its steps.
        overhead: seconds of its start and of a validation.
    """

    seconds_per_epoch: float
    overhead: float


def pace(run: Run) -> Pace:
    """That of a run that has trained an epoch or more.

    Raises:
        UsageError: it has failed before; says why.
    """
    record, epochs = run.record() or {}, max(run.curve(), default=0)
    if not epochs:
        raise UsageError(
            f'{run.title}: the first epoch, which tells how long one takes, has failed: {record.get("failure")}'
        )
    seconds = training_seconds(run.folder)
    return Pace(seconds / epochs, max(record['seconds'] - seconds, 0.0) / epochs)


def with_equal_macs(several: Sequence[Candidate], cfg: Config, epochs: int, size: tuple[int, int]) -> list[Candidate]:
    """The candidates with as many epochs as need the multiply-adds of the first one in its epochs.

    Args:
        several: what is compared.
        cfg: of the detector.
        epochs: of the first one.
        size: width and height of the network's input, pixels.
    """
    costs = [multiply_adds(each.config(cfg), size) * each.fraction for each in several]
    return _in_proportion(several, costs, epochs)


def with_equal_seconds(several: Sequence[Candidate], runs: Sequence[Run], epochs: int) -> list[Candidate]:
    """The candidates with as many epochs as take as long as those of the first one, validations aside.

    Args:
        several: what is compared.
        runs: one of each, which has trained its first epoch and no more.
        epochs: of the first one.
    """
    return _in_proportion(several, [pace(run).seconds_per_epoch for run in runs], epochs)


def _in_proportion(several: Sequence[Candidate], costs: Sequence[float], epochs: int) -> list[Candidate]:
    """Each with the epochs that cost nearest to what those of the first one do; one at least."""
    return [
        dataclasses.replace(each, epochs=max(1, round(epochs * costs[0] / cost)))
        for each, cost in zip(several, costs, strict=True)
    ]


def train_within(
    budget: float, runs: Sequence[Run], epochs: int, train: Train, say: Callable[[str], object] = print
) -> dict[Candidate, str]:
    """Trains as much as fits a time, by successive halving over epochs and seeds.

    The first epoch of every candidate tells how long one takes, and counts. Then the worst are dropped rung by rung
    (:mod:`mmcnn.compare.halving`), and the rest is trained to the end, with as many seeds as there is time for.

    Args:
        budget: seconds for everything, of one training after the other.
        runs: of all candidates with all seeds; each seed has all candidates.
        epochs: of the schedule.
        train: trains runs.
        say: takes a sentence for each rung.

    Returns:
        the candidates that were dropped, and when, in words.

    Raises:
        UsageError: the time is too short for the smallest plan, or a first epoch fails.
    """
    several = list(dict.fromkeys(run.candidate for run in runs))
    names = [each.name for each in several]
    by_name = {name: [run for run in runs if run.candidate == each] for name, each in zip(names, several, strict=True)}
    firsts = [by_name[name][0] for name in names]
    train([run for run in firsts if not run.has_reached(1)], 1)
    paces = {name: pace(run) for name, run in zip(names, firsts, strict=True)}
    spent = sum((run.record() or {}).get('seconds', 0.0) for run in runs)
    rungs = halving.fit(
        max(budget - spent, 1.0),
        {name: each.seconds_per_epoch for name, each in paces.items()},
        epochs,
        len(by_name[names[0]]),
        overhead_seconds=max(each.overhead for each in paces.values()),
    )
    dropped: dict[Candidate, str] = {}
    for rung, following in itertools.zip_longest(rungs, rungs[1:]):
        say(f'{len(names)} candidates up to epoch {rung.epoch} of {epochs}, seeds: {len(rung.seeds)}')
        wanted = [by_name[name][place] for place in rung.seeds for name in names]
        train(wanted, None if rung.epoch == epochs else rung.epoch)
        if following is None:
            break
        scores = {name: _score(by_name[name], rung) for name in names}
        kept = halving.survivors(scores, following.candidates)
        for name in [name for name in names if name not in kept]:
            how = 'it failed' if scores[name] is None else f'AP was {scores[name]:.3f}'
            dropped[by_name[name][0].candidate] = f'dropped by the budget after epoch {rung.epoch}, when {how}'
        names = [name for name in names if name in kept]
    return dropped


def _score(runs: Sequence[Run], rung: halving.Rung) -> float | None:
    """Mean AP of a candidate's seeds at the end of a rung; None: one has not come so far."""
    found = [runs[place].curve().get(rung.epoch) for place in rung.seeds]
    return None if any(each is None or not math.isfinite(each) for each in found) else sum(found) / len(found)
