"""Interleaved measurements, so that a machine whose speed drifts treats all candidates alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: Does the work of one side once, and gives its figure.
Measured = Callable[[], float]


def in_turn(sides: Mapping[str, Measured], rounds: int) -> dict[str, list[float]]:
    """Return the figure of each side in each round.

    Every round has all sides, and starts with another one, so that none always follows the same one.

    Args:
        sides: by name.
        rounds: that are kept, after one that only warms up.
    """
    names, figures = list(sides), {name: [] for name in sides}
    for number in range(-1, rounds):
        first = max(number, 0) % len(names)
        for name in names[first:] + names[:first]:
            figure = sides[name]()
            if number >= 0:
                figures[name].append(figure)
    return figures


def cpu_seconds(call: Callable[[], object], repeat: int = 1) -> Measured:
    """Measure the seconds that the process's threads keep the CPU busy for a call.

    Args:
        call: what is measured.
        repeat: how often it is made for one figure, which is the mean.
    """
    return _seconds(call, repeat, time.process_time)


def wall_seconds(call: Callable[[], object], repeat: int = 1) -> Measured:
    """Return the same of the seconds that pass."""
    return _seconds(call, repeat, time.perf_counter)


def repeats(call: Callable[[], object], least: float) -> int:
    """Return how many calls keep the CPU busy for ``least`` seconds; one call is made to find out."""
    return max(1, round(least / max(cpu_seconds(call)(), 1e-6)))


def _seconds(call: Callable[[], object], repeat: int, clock: Callable[[], float]) -> Measured:
    def measured() -> float:
        start = clock()
        for _ in range(repeat):
            call()
        return (clock() - start) / repeat

    return measured
