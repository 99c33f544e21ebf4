"""Distribution of minutes over stages, and within a stage over its measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Budget:
    """Number of seconds for each measurement. What a stage leaves over goes to later ones.

    Args:
        seconds: total, from now on.
        shares: shares of the stages that run, in order, in any unit.
        clock: returns elapsed seconds.
    """

    def __init__(
        self, seconds: float, shares: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._shares = dict(shares)
        self._end = clock() + seconds
        self._stage_end = self._end

    def left(self) -> float:
        """Return the seconds until the end."""
        return self._end - self._clock()

    def enter(self, stage: str) -> None:
        """Begin a stage; those that have not begun share what is left."""
        share = self._shares.pop(stage)
        total = share + sum(self._shares.values())
        self._stage_end = self._clock() + self.left() * share / total

    def allowance(self, measurements: int) -> float:
        """Return the seconds for the next of the stage's remaining measurements; negative if it has used them up."""
        return (self._stage_end - self._clock()) / measurements
