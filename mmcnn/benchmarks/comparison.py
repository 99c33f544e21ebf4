"""Results of a benchmark: the figures of sides that were measured in turn, and their ratios to a peer.

A benchmark is a module in this package with ``measure(options, say) -> list[Comparison]``. Its options are a class in
:mod:`mmcnn.benchmarks.options`, and a line in :mod:`mmcnn.cli.benchmark` makes it a command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import UsageError
from mmcnn.interleaved import Measured, in_turn
from mmcnn.machine import machine

#: Takes a benchmark's messages while it runs, such as which peer is not installed.
Say = Callable[[str], object]
#: Confidence of the interval of a median.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Side:
    """One way to do the task.

    Attributes:
        name: name in reports.
        measured: does the task once and returns the figure.
        peer: whether ours are compared with it.
    """

    name: str
    measured: Measured
    peer: bool = False


@dataclass(frozen=True)
class Ratio:
    """Ratio of two sides, round by round.

    Attributes:
        median: median of all rounds.
        smallest, largest: extremes of all rounds.
        interval: 95 % confidence interval of the median (order statistics, distribution-free); None with fewer than
            six rounds, which are not enough.
    """

    median: float
    smallest: float
    largest: float
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Sequence[float], others: Sequence[float]) -> Ratio:
        """Return the ratio of figures of the same rounds."""
        ratios = [a / b for a, b in zip(values, others, strict=True)]
        return cls(median(ratios), min(ratios), max(ratios), median_interval(ratios))

    def __str__(self) -> str:
        low, high = self.interval or (self.smallest, self.largest)
        digits = 2 if self.median >= 0.1 else 4
        return f'{self.median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'


@dataclass(frozen=True)
class Comparison:
    """The figures of all sides for one task.

    Attributes:
        row: the task, such as a network.
        unit: unit of the figures: ``s``, ``images/s``, ``MB`` ...
        figures: figures of each round, by side.
        peers: the sides that ours are compared with.
        more_is_better: True for rates; otherwise less is better.
    """

    row: str
    unit: str
    figures: dict[str, list[float]]
    peers: frozenset[str] = frozenset()
    more_is_better: bool = False

    @property
    def best_peer(self) -> str | None:
        """The peer with the best median; None without a peer."""
        best = max if self.more_is_better else min
        return best(sorted(self.peers), key=lambda name: median(self.figures[name]), default=None)

    def ratio(self, name: str) -> Ratio | None:
        """Return the ratio of a side's figures to those of the best peer; None without a peer."""
        peer = self.best_peer
        return None if peer is None else Ratio.of(self.figures[name], self.figures[peer])

    def lines(self) -> list[str]:
        """Return a line for each side: median, smallest and largest figure, ratio to the best peer."""
        width, found = max(map(len, self.figures)), []
        for name, values in self.figures.items():
            line = (
                f'{self.row:32s} {name:{width}s} {_number(median(values)):>9s} {self.unit} '
                f'({_number(min(values))} to {_number(max(values))})'
            )
            if self.best_peer is not None:
                what = 'the best peer' if name == self.best_peer else f'{self.ratio(name)} x {self.best_peer}'
                line += f'   {what}'
            found.append(line)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return everything, including medians and ratios, for a JSON file."""
        sides = {}
        for name, values in self.figures.items():
            sides[name] = dict(figures=values, median=median(values), peer=name in self.peers)
            if self.best_peer is not None:
                ratio = self.ratio(name)
                sides[name] |= dict(
                    ratio=ratio.median, ratio_range=[ratio.smallest, ratio.largest], ratio_interval=ratio.interval
                )
        return dict(
            row=self.row,
            unit=self.unit,
            more_is_better=self.more_is_better,
            best_peer=self.best_peer,
            sides=sides,
        )


def compare(row: str, sides: Iterable[Side], rounds: int, unit: str = 's', more_is_better: bool = False) -> Comparison:
    """Measure sides in turn, after one warm-up round."""
    sides = list(sides)
    figures = in_turn({side.name: side.measured for side in sides}, rounds)
    return Comparison(row, unit, figures, frozenset(side.name for side in sides if side.peer), more_is_better)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of the median of independent values; None if there are too few."""
    from scipy.stats import quantile_test

    interval = quantile_test(list(values), p=0.5).confidence_interval(CONFIDENCE)
    return None if interval.low != interval.low else (float(interval.low), float(interval.high))


def report(comparisons: Sequence[Comparison]) -> str:
    """Return all comparisons as lines, and the meaning of their spread."""
    lines = [line for each in comparisons for line in each.lines()]
    if any(each.best_peer is not None for each in comparisons):
        rounds = len(next(iter(comparisons[0].figures.values())))
        spread = '95 % interval' if median_interval(range(rounds)) else 'smallest and largest'
        lines.append(f'Medians of {rounds} interleaved rounds; ratios are computed within each round, with {spread}.')
    return '\n'.join(lines)


def write_json(path: str | Path, what: str, command: str, comparisons: Sequence[Comparison]) -> None:
    """Write a result with the machine that it was measured on.

    Args:
        path: path of the file; its folder is created.
        what: name of the benchmark.
        command: command that repeats it.
        comparisons: the figures.
    """
    content = dict(
        benchmark=what, command=command, machine=machine(), comparisons=[each.as_json() for each in comparisons]
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write((json.dumps(content, indent=1) + '\n').encode()))


def plot(path: str | Path, title: str, comparisons: Sequence[Comparison]) -> None:
    """Save a PNG of all ratios to the best peer; comparisons without a peer have none.

    Raises:
        UsageError: there is nothing to plot.
    """
    from mmcnn.plots.ratios import plot_ratios

    rows = []
    for each in comparisons:
        for name in each.figures:
            if name != each.best_peer and (ratio := each.ratio(name)) is not None:
                rows.append((each.row, name, ratio.median, *(ratio.interval or (ratio.smallest, ratio.largest))))
    if not rows:
        raise UsageError(f'{path}: there is no peer for ratios to plot')
    plot_ratios(rows, title, path)


def _number(value: float) -> str:
    return f'{value:.4g}' if abs(value) < 1e4 else f'{value:,.0f}'
