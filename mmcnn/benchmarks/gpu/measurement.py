"""What a measurement is, and what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Takes values of a measurement as soon as they are known.
Report = Callable[..., None]
#: Seconds at most of a measurement of speed in the tiny form.
TINY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What every measurement is given.

    Attributes:
        device: 'cuda' or 'cpu'.
        tiny: narrow networks and small images.
        folder: of a detector's data.
        classes_folder: of a classifier's.
        workers: data-loading processes.
        cache_gb: memory for decoded images.
        batch_size: the one that was asked for; None: by recipe and memory.
        memory: of the device, bytes; 0: not known yet.
    """

    device: str
    tiny: bool
    folder: str
    classes_folder: str
    workers: int
    cache_gb: float = 0.0
    batch_size: int | None = None
    memory: int = 0

    def timer_of_speed(self, timer: Timer) -> Timer:
        """Of a measurement that takes all the time that it has: in the tiny form, whose speeds say nothing, little."""
        return Timer(min(timer.left(), TINY_SECONDS)) if self.tiny else timer


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Something to measure.

    Attributes:
        stage: one of :data:`~.options.STAGES`, or 'training'.
        name: of it within its stage.
        function: called as ``function(circumstances, timer, report, **arguments)``; a function of a module, since it
            runs in another process.
        arguments: plain values.
        environment: variables that have to be set before CUDA starts.
        needs_gpu: it is left out on the CPU.
    """

    stage: str
    name: str
    function: Callable[..., None]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    needs_gpu: bool = False


class Timer:
    """The seconds that a measurement may have.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end; below 0 once they are over."""
        return self._end - time.monotonic()
