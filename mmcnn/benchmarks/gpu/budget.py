"""Minutes that are shared out over stages, and within a stage over its measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Budget:
    """How many seconds each measurement may have. What a stage leaves over goes to those after it.

    Args:
        seconds: all in all, from now on.
        shares: of the stages that run, in their order; in whatever unit.
        clock: seconds that pass.
    """

    def __init__(
        self, seconds: float, shares: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._shares = dict(shares)
        self._end = clock() + seconds
        self._stage_end = self._end

    def left(self) -> float:
        """Seconds until the end."""
        return self._end - self._clock()

    def enter(self, stage: str) -> None:
        """A stage begins; those that have not begun yet share what is left."""
        share = self._shares.pop(stage)
        total = share + sum(self._shares.values())
        self._stage_end = self._clock() + self.left() * share / total

    def allowance(self, measurements: int) -> float:
        """Seconds for the next of so many measurements that the stage still has; below 0 if it has used them up."""
        return (self._stage_end - self._clock()) / measurements
