"""Interleaved measurements, so that a machine whose speed drifts treats all candidates alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: Does the work of one side once and returns its measured value.
Measured = Callable[[], float]


def in_turn(sides: Mapping[str, Measured], rounds: int) -> dict[str, list[float]]:
    """Return the measured values of each side, one for each round.

    Every round measures all sides and starts with another one, so that none always follows the same side.

    Args:
        sides: by name.
        rounds: number of rounds to keep, after one for warming up.
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
    """Measure the CPU seconds of a call, summed over the threads of the process.

    Args:
        call: the call to measure.
        repeat: number of calls for one value, which is their mean.
    """
    return _seconds(call, repeat, time.process_time)


def wall_seconds(call: Callable[[], object], repeat: int = 1) -> Measured:
    """Measure the elapsed seconds of a call, with the arguments of :func:`cpu_seconds`."""
    return _seconds(call, repeat, time.perf_counter)


def repeats(call: Callable[[], object], least: float) -> int:
    """Return how many calls keep the CPU busy for ``least`` seconds, measured by one call."""
    return max(1, round(least / max(cpu_seconds(call)(), 1e-6)))


def _seconds(call: Callable[[], object], repeat: int, clock: Callable[[], float]) -> Measured:
    def measured() -> float:
        start = clock()
        for _ in range(repeat):
            call()
        return (clock() - start) / repeat

    return measured
