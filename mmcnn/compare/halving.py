"""Successive halving: how far to train which candidates, with which seeds, if a budget is too small for all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmcnn.errors import UsageError

#: Number of candidates that are trained to the end.
FINALISTS = 3
#: Out of this many candidates, one continues to the next rung. More and smaller steps find the best more often at the
#: same cost (docs/comparison.md).
SHARE = 1.5
#: Values that are tried for a budget; 1: all candidates are trained to the end.
SHARES = (1, 1.1, 1.25, SHARE, 2, 3, 4)


@dataclass(frozen=True)
class Rung:
    """A step of the plan.

    Attributes:
        candidates: number of candidates that are trained in it, those with the highest AP in the previous rung.
        epoch: the epoch of the schedule that it ends at; earlier ones are not trained again.
        seeds: indices of the seeds, 0 to n - 1; later rungs keep those of earlier ones.
    """

    candidates: int
    epoch: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Replay:
    """The result that a plan would have had on runs that were trained to the end.

    Attributes:
        finalists: indices of the candidates of the last rung, the highest AP first.
        best: index of the candidate with the highest mean AP of all seeds at the last epoch.
        cost_share: trained epochs as a fraction of all candidates' with all seeds.
    """

    finalists: tuple[int, ...]
    best: int
    cost_share: float

    @property
    def found(self) -> bool:
        """Whether the best candidate is one of the finalists."""
        return self.best in self.finalists


def plan(num_candidates: int, epochs: int, seeds: int, share: float = SHARE, finalists: int = FINALISTS) -> list[Rung]:
    """Return successive halving (Jamieson & Talwalkar 2016): rung by rung fewer candidates, trained longer.

    The first rungs have one seed; the finalists get all of them and the whole schedule, so that their comparison is
    complete. Each rung before the last has ``share`` times as many candidates as the next one and ends that much
    earlier.

    Args:
        num_candidates: number k.
        epochs: length of the whole schedule, which also applies to trainings that are stopped early.
        seeds: number n for the finalists.
        share: out of this many candidates one continues; 1: all are trained to the end.
        finalists: number of candidates that are trained to the end.

    Raises:
        UsageError: a number is below 1.
    """
    numbers = dict(num_candidates=num_candidates, epochs=epochs, seeds=seeds, share=share, finalists=finalists)
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f'{name}={value}: a plan needs 1 or more')
    last = Rung(min(num_candidates, finalists) if share > 1 else num_candidates, epochs, tuple(range(seeds)))
    sizes = [last.candidates]
    while sizes[0] < num_candidates:
        sizes.insert(0, min(math.ceil(sizes[0] * share), num_candidates))
    steps = range(len(sizes) - 1, 0, -1)
    earlier = [Rung(size, max(int(epochs / share**step), 1), (0,)) for size, step in zip(sizes, steps, strict=False)]
    return [*earlier, last]


def survivors(scores: Mapping[str, float | None], keep: int) -> list[str]:
    """Return the ``keep`` candidates with the highest AP, highest first; the earlier of equal ones.

    Args:
        scores: candidate -> mean AP of the rung's seeds at its last epoch; None or NaN: it failed and is kept last.
        keep: number of candidates that continue.
    """

    def place(name: str) -> float:
        score = scores[name]
        return -score if score is not None and math.isfinite(score) else math.inf

    return sorted(scores, key=place)[:keep]


def trained_epochs(rungs: Sequence[Rung]) -> list[int]:
    """Return the epochs that a candidate is trained in each rung, with all its seeds, in addition to earlier rungs."""
    done: dict[int, int] = {}
    epochs = []
    for rung in rungs:
        epochs.append(sum(max(rung.epoch - done.get(seed, 0), 0) for seed in rung.seeds))
        done |= {seed: max(rung.epoch, done.get(seed, 0)) for seed in rung.seeds}
    return epochs


def cost_share(rungs: Sequence[Rung], num_candidates: int, epochs: int, seeds: int) -> float:
    """Return the epochs of the plan as a fraction of those of all candidates with all seeds to the end."""
    trained = sum(rung.candidates * each for rung, each in zip(rungs, trained_epochs(rungs), strict=True))
    return trained / (num_candidates * epochs * seeds)


def most_seconds(rungs: Sequence[Rung], seconds_per_epoch: Mapping[str, float], overhead_seconds: float = 0.0) -> float:
    """Return the seconds of the plan if the slowest candidates continue.

    Args:
        rungs: rungs of the plan.
        seconds_per_epoch: for each candidate, including validation.
        overhead_seconds: for each start of a training, in every rung.
    """
    starts = sum(rung.candidates * len(rung.seeds) for rung in rungs)
    slowest = sorted(seconds_per_epoch.values(), reverse=True)
    epochs = zip(rungs, trained_epochs(rungs), strict=True)
    return starts * overhead_seconds + sum(each * sum(slowest[: rung.candidates]) for rung, each in epochs)


def fit(
    budget_seconds: float,
    seconds_per_epoch: Mapping[str, float],
    epochs: int,
    seeds: int,
    finalists: int = FINALISTS,
    overhead_seconds: float = 0.0,
) -> list[Rung]:
    """Return the largest plan that fits a budget even if the slowest candidates continue.

    More seeds of the finalists have priority, since nothing can be concluded about them without; then the plan that
    trains most, up to all candidates to the end.

    Args:
        budget_seconds: for all trainings, one after the other.
        seconds_per_epoch: for each candidate, including validation.
        epochs: length of the whole schedule.
        seeds: maximum number for the finalists.
        finalists: number of candidates that are trained to the end.
        overhead_seconds: for each start of a training, in every rung.

    Raises:
        UsageError: not even the smallest plan fits; the message says how long it would take.
    """
    k, least = len(seconds_per_epoch), math.inf
    for number in range(seeds, 0, -1):
        plans = [plan(k, epochs, number, share, finalists) for share in SHARES]
        seconds = [most_seconds(rungs, seconds_per_epoch, overhead_seconds) for rungs in plans]
        if fitting := [each for each in zip(seconds, plans, strict=True) if each[0] <= budget_seconds]:
            return max(fitting, key=lambda each: each[0])[1]
        least = min(least, *seconds)
    raise UsageError(
        f'a budget of {budget_seconds:.0f} s is too small for {k} candidates and {epochs} epochs: the smallest plan '
        f'takes up to {math.ceil(least)} s; increase it, or use fewer epochs or candidates'
    )


def replay(curves: np.ndarray, rungs: Sequence[Rung]) -> Replay:
    """Return the result that a plan would have had on these runs; it sees nothing beyond its own epochs.

    Args:
        curves: (k, n, E) AP after each epoch, 0 to 1; NaN: that run failed.
        rungs: rungs of a plan for k candidates, n seeds and E epochs.

    Raises:
        UsageError: the plan has other numbers of candidates, seeds or epochs.
    """
    k, n, epochs = curves.shape
    last = rungs[-1]
    if rungs[0].candidates != k or last.epoch != epochs or max(last.seeds) >= n:
        raise UsageError(
            f'curves of {k} candidates, {n} seeds and {epochs} epochs cannot replay a plan of {rungs[0].candidates} '
            f'candidates, {len(last.seeds)} seeds and {last.epoch} epochs'
        )
    staying = [str(place) for place in range(k)]
    for rung, following in itertools.zip_longest(rungs, rungs[1:]):
        seen = {name: float(curves[int(name), list(rung.seeds), rung.epoch - 1].mean()) for name in staying}
        staying = survivors(seen, len(staying) if following is None else following.candidates)
    best = int(np.nanargmax(curves[:, :, -1].mean(axis=1)))
    return Replay(tuple(map(int, staying)), best, cost_share(rungs, k, epochs, n))
