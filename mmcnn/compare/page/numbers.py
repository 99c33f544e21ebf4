"""Numbers of a comparison for its page: means over common seeds, intervals, costs in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linprog

from mmcnn.compare.results import AP, CandidateResult, Comparison, PairResult, RunResult
from mmcnn.compare.verdicts import groups

#: The seed of a run and its init seed, None if that follows from the seed.
Seeds = tuple[int, int | None]
_PREFIXES = ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k'), (1.0, ''))


@dataclass(frozen=True)
class Numbers:
    """The numbers of a comparison that several sections of the page need."""

    comparison: Comparison

    @cached_property
    def measured(self) -> list[CandidateResult]:
        """The candidates with the AP of any run."""
        return [each for each in self.comparison.candidates if scores(each)]

    @cached_property
    def common_seeds(self) -> list[Seeds]:
        """The seeds that all of them have finished."""
        sets = [set(scores(each)) for each in self.measured]
        return (
            sorted(set.intersection(*sets), key=lambda each: (each[0], -1 if each[1] is None else each[1]))
            if sets
            else []
        )

    @cached_property
    def means(self) -> dict[str, float]:
        """Mean AP over the common seeds, or if there are none over a candidate's own, by name, the highest first."""
        found = {}
        for candidate in self.measured:
            own = scores(candidate)
            found[candidate.name] = statistics.fmean(own[seed] for seed in self.common_seeds or own)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @cached_property
    def own_half_widths(self) -> dict[str, float]:
        """Half widths of comparison intervals: if those of two candidates do not overlap, the pair is distinguishable.

        The shortest, in total, whose sums are at least the half width of each pair's simultaneous interval. The
        candidates of pairs without an interval have none.
        """
        pairs = [(pair, half_width(pair)) for pair in self.comparison.pairs]
        pairs = [(pair, half) for pair, half in pairs if half is not None]
        names = sorted({name for pair, _ in pairs for name in (pair.first, pair.second)})
        if not names:
            return {}
        sums = np.zeros((len(pairs), len(names)))
        for row, (pair, _) in zip(sums, pairs, strict=True):
            row[[names.index(pair.first), names.index(pair.second)]] = -1
        found = linprog(np.ones(len(names)), A_ub=sums, b_ub=[-half for _, half in pairs])
        # Among the shortest, those that differ least: two candidates share their interval equally.
        equal = max(half for _, half in pairs) / 2
        halves = found.x if found.fun < len(names) * equal * (1 - 1e-6) else np.full(len(names), equal)
        return dict(zip(names, halves.tolist(), strict=True))

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """The largest groups of candidates that no pair separates, each and all in descending order of the mean."""
        pairs = [_Told(each.first, each.second, told_apart(each)) for each in self.comparison.pairs]
        compared = {name for pair in pairs for name in (pair.first, pair.second)}
        return groups(pairs, {name: mean for name, mean in self.means.items() if name in compared})

    @property
    def widest(self) -> float:
        """Width of the widest simultaneous interval; 0 if there is none."""
        return max((2 * half for pair in self.comparison.pairs if (half := half_width(pair)) is not None), default=0.0)

    def series(self, name: str) -> int:
        """Return the number of a candidate in figures and legends."""
        return next(i for i, each in enumerate(self.comparison.candidates) if each.name == name)


@dataclass(frozen=True)
class _Told:
    first: str
    second: str
    distinguishable: bool


def scores(candidate: CandidateResult) -> dict[Seeds, float]:
    """Return AP by seeds, for the runs that have one."""
    found = {run.block: metric(run, AP) for run in candidate.runs}
    return {seeds: value for seeds, value in found.items() if value is not None}


def in_words(seeds: Seeds) -> str:
    """Return '3', or '3 (init seed 5)' if that was set."""
    return f'{seeds[0]}' if seeds[1] is None else f'{seeds[0]} (init seed {seeds[1]})'


def metric(run: RunResult, key: str) -> float | None:
    """Return a metric of a finished run; None if there was nothing to measure, for which COCO has -1."""
    value = run.metrics.get(key)
    return None if run.failure is not None or value is None or math.isnan(value) or value < 0 else value


def half_width(pair: PairResult) -> float | None:
    """Return the half width of the simultaneous interval; None: there is none with one seed."""
    ends = (pair.low, pair.high)
    return None if None in ends or not all(map(math.isfinite, ends)) else (pair.high - pair.low) / 2


def told_apart(pair: PairResult) -> bool:
    """Return whether the interval is entirely above zero."""
    return half_width(pair) is not None and pair.low > 0


def mean_and_spread(values: Sequence[float]) -> str:
    """Return '0.412 ± 0.013', without the deviation for a single value; a dash for none."""
    if not values:
        return '-'
    mean = f'{statistics.fmean(values):.3f}'
    return f'{mean} ± {statistics.stdev(values):.3f}' if len(values) > 1 else mean


def scale(largest: float, unit: str) -> tuple[float, str]:
    """Return the divisor for values up to ``largest``, and the resulting unit.

    Counts and bytes get a prefix, seconds become minutes or hours; other units are unchanged.
    """
    if unit in ('', 'B'):
        divisor, prefix = next((each for each in _PREFIXES if largest >= each[0]), _PREFIXES[-1])
        return divisor, f'{prefix}{unit}'
    if unit == 's' and largest >= 120:
        return (3600.0, 'h') if largest >= 7200 else (60.0, 'min')
    return 1.0, unit


def quantity(value: float, unit: str) -> str:
    """Return a value in its unit with three digits: '4.21 M', '12.3 ms', '2.5 min'."""
    divisor, name = scale(value, unit)
    value /= divisor
    text = f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
    return f'{text} {name}'.strip()
