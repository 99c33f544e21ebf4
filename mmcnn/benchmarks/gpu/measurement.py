"""A measurement, and its arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Takes values of a measurement as soon as they are known.
Report = Callable[..., None]
#: Time limit in seconds of a speed measurement in the tiny form.
TINY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Arguments of every measurement.

    Attributes:
        device: 'cuda' or 'cpu'.
        tiny: narrow networks and small images.
        folder: folder of a detector's data.
        classes_folder: folder of a classifier's data.
        workers: number of data-loading processes.
        cache_gb: memory for decoded images.
        batch_size: given batch size; None: by recipe and memory.
        memory: memory of the device, bytes; 0: unknown.
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
        """Return the timer of a measurement that uses all of its time: short in the tiny form, whose speed is moot."""
        return Timer(min(timer.left(), TINY_SECONDS)) if self.tiny else timer


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Something to measure.

    Attributes:
        stage: one of :data:`~.options.STAGES`, or 'training'.
        name: name within its stage.
        function: called as ``function(circumstances, timer, report, **arguments)``; defined in a module, since it runs
            in another process.
        arguments: plain values.
        environment: variables that must be set before CUDA starts.
        needs_gpu: whether it is left out on the CPU.
    """

    stage: str
    name: str
    function: Callable[..., None]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    needs_gpu: bool = False


class Timer:
    """The time limit of a measurement.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds until the end; negative after it."""
        return self._end - time.monotonic()
