"""Budgets: trainings of equal seconds or multiply-adds, and a total time by successive halving."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config

from mmcnn.compare import halving
from mmcnn.compare.candidates import Candidate
from mmcnn.compare.network import multiply_adds
from mmcnn.compare.run import Run
from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import UsageError
from mmcnn.plots.curves import training_seconds

#: Trains runs up to an epoch; None: to the end.
Train = Callable[[Sequence[Run], int | None], None]


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast a candidate trains.

    Attributes:
        seconds_per_epoch: time of its steps.
        overhead: seconds of its start and of a validation.
    """

    seconds_per_epoch: float
    overhead: float


def pace(run: Run) -> Pace:
    """Return the pace of a run that has trained at least one epoch.

    Raises:
        UsageError: it failed before; the message says why.
    """
    record, epochs = run.record() or {}, max(run.curve(), default=0)
    if not epochs:
        raise UsageError(f'{run.title}: the first epoch, which measures the pace, failed: {record.get("failure")}')
    seconds = training_seconds(run.folder, run.iterations())
    return Pace(seconds / epochs, max(record['seconds'] - seconds, 0.0) / epochs)


def with_equal_macs(
    several: Sequence[Candidate], configs: Sequence[Config], epochs: int, size: tuple[int, int]
) -> list[Candidate]:
    """Return the candidates with as many epochs as need the multiply-adds of the first one in its epochs.

    Args:
        several: the candidates.
        configs: configs of their detectors, as they are trained.
        epochs: epochs of the first one.
        size: width and height of the network's input, pixels.
    """
    costs = [multiply_adds(cfg, size) * each.fraction for each, cfg in zip(several, configs, strict=True)]
    return _in_proportion(several, costs, epochs)


def with_equal_seconds(several: Sequence[Candidate], runs: Sequence[Run], epochs: int) -> list[Candidate]:
    """Return the candidates with as many epochs as take the time of the first one's, without validations.

    The first one is the first whose first epoch did not fail. The others keep ``epochs``: their trainings record why
    they fail.

    Args:
        several: the candidates.
        runs: one run of each, which has trained only its first epoch.
        epochs: epochs of the first one.

    Raises:
        UsageError: the first epoch of every candidate failed; the message says why for the first one.
    """
    timed = {each: run for each, run in zip(several, runs, strict=True) if run.has_reached(1)}
    if not timed:
        pace(runs[0])  # raises, with the reason
    costs = [pace(run).seconds_per_epoch for run in timed.values()]
    found = dict(zip(timed, _in_proportion([*timed], costs, epochs), strict=True))
    return [found.get(each) or dataclasses.replace(each, epochs=epochs) for each in several]


def _in_proportion(several: Sequence[Candidate], costs: Sequence[float], epochs: int) -> list[Candidate]:
    """Return each with the number of epochs, at least one, whose cost is closest to that of the first one's."""
    return [
        dataclasses.replace(each, epochs=max(1, round(epochs * costs[0] / cost)))
        for each, cost in zip(several, costs, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a budget left out.

    Attributes:
        dropped: candidates that were not trained to the end, and when that was decided, in words.
        seeds: number of seeds, from the first, that there was time for.
    """

    dropped: dict[Candidate, str]
    seeds: int


def train_within(
    budget: float, runs: Sequence[Run], epochs: int, train: Train, plan_file: Path, say: Callable[[str], object] = print
) -> Outcome:
    """Train as much as fits a time, by successive halving over epochs and seeds.

    The first epoch of every candidate measures its pace, and counts. Then the worst are dropped rung by rung
    (:mod:`mmcnn.compare.halving`), and the rest are trained to the end, with as many seeds as there is time for. A
    candidate whose first epoch fails is left out.

    Args:
        budget: seconds for everything, one training after the other, including earlier sessions.
        runs: runs of all candidates with all seeds; each seed has all candidates.
        epochs: length of the schedule.
        train: trains runs.
        plan_file: keeps the plan, so that an interrupted comparison continues with the same one.
        say: takes a sentence for each rung.

    Raises:
        UsageError: the time is too short for the smallest plan.
    """
    several = list(dict.fromkeys(run.candidate for run in runs))
    by_name = {each.name: [run for run in runs if run.candidate == each] for each in several}
    train([of[0] for of in by_name.values() if not of[0].has_reached(1)], 1)
    names = [name for name, of in by_name.items() if of[0].has_reached(1)]
    if not names:
        return Outcome({}, len(runs) // len(several))
    rungs = _plan(budget, {name: by_name[name] for name in names}, epochs, plan_file)
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
    return Outcome(dropped, len(rungs[-1].seeds))


def _plan(budget: float, runs: dict[str, list[Run]], epochs: int, file: Path) -> list[halving.Rung]:
    """Return the plan in the file if it is for these candidates and this budget, else one that fits, and keep it.

    Args:
        budget: seconds.
        runs: runs of each candidate by name; the first has trained at least one epoch.
        epochs: length of the schedule.
        file: file of the plan.
    """
    seeds = len(next(iter(runs.values())))
    wanted = dict(budget=budget, candidates=[*runs], epochs=epochs, seeds=seeds)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(file.read_bytes())
        rungs = [halving.Rung(**each | dict(seeds=tuple(each['seeds']))) for each in kept.pop('rungs')]
        if kept == wanted:
            return rungs
    paces = {name: pace(of[0]) for name, of in runs.items()}
    rungs = halving.fit(
        # The plan counts all epochs, but not that the first ones were a separate session.
        max(budget - sum(each.overhead for each in paces.values()), 1.0),
        {name: each.seconds_per_epoch for name, each in paces.items()},
        epochs,
        seeds,
        overhead_seconds=max(each.overhead for each in paces.values()),
    )
    content = json.dumps(wanted | dict(rungs=[dataclasses.asdict(each) for each in rungs]), indent=1)
    write_whole(file, lambda each: each.write(content.encode()))
    return rungs


def _score(runs: Sequence[Run], rung: halving.Rung) -> float | None:
    """Return the mean AP of a candidate's seeds at the end of a rung; None: one of them has not reached it."""
    found = [runs[place].curve().get(rung.epoch) for place in rung.seeds]
    return None if any(each is None or not math.isfinite(each) for each in found) else sum(found) / len(found)
