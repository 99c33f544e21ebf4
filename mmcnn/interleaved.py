"""Interleaved measurements, so that a machine whose speed drifts treats all candidates alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice

#: Does the work of one side once and returns its measured value.
Measured = Callable[[], float]


def in_turn(sides: Mapping[str, Measured], rounds: int) -> dict[str, list[float]]:
    """Return the measured values of each side, one for each round.

    Every round measures all sides, in another order (:func:`orders`).

    Args:
        sides: by name.
        rounds: number of rounds to keep, after one for warming up.
    """
    figures = {name: [] for name in sides}
    for measure in sides.values():
        measure()
    for order in islice(orders([*sides]), rounds):
        for name in order:
            figures[name].append(sides[name]())
    return figures


def orders(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield orders in which each name stands at each place, and directly after each other one, equally often.

    The side before leaves its mark: what it has freed decides how much of a step's memory the kernel must provide anew.
    These are the balanced Latin squares of Williams (1949): as many orders as names, or twice as many of an odd number;
    then they repeat.
    """
    # 0, 1, -1, 2, -2, ...: modulo the number of names, all steps between neighbours differ.
    zigzag = [(-1) ** (place + 1) * ((place + 1) // 2) for place in range(len(names))]
    for number in count():
        first, backwards = divmod(number, 2) if len(names) % 2 else (number, False)
        order = [names[(first + step) % len(names)] for step in zigzag]
        yield order[::-1] if backwards else order


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
