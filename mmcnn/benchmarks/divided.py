"""Training loops whose time is attributed to parts."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmcnn.errors import UsageError

#: Backbone, neck and the head's layers: convolution, BatchNorm, activation, upsampling ...
NETWORK = 'network'
Division = TypeVar('Division')


class PartClock:
    """Attributes each second to the innermost part that it is spent in.

    Args:
        now: returns the present time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now = now
        self._inside: list[str] = []
        self._since = 0.0

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call that is a part of the code that calls it."""

        @functools.wraps(call)
        def timed_call(*args: Any, **kwargs: Any) -> Any:
            self._credit()
            self._inside.append(part)
            try:
                return call(*args, **kwargs)
            finally:
                self._credit()
                self._inside.pop()

        return timed_call

    def time(self, owner: Any, method: str, part: str) -> None:
        """Make a method of an object a part."""
        setattr(owner, method, self.timed(part, getattr(owner, method)))

    @contextlib.contextmanager
    def timing(self, owner: type, method: str, part: str) -> Iterator[None]:
        """Make a method of all objects of a class, and of their copies, a part while the context is open."""
        own = vars(owner).get(method)
        self.time(owner, method, part)
        try:
            yield
        finally:
            if own is None:
                delattr(owner, method)
            else:
                setattr(owner, method, own)

    def switch(self, part: str, to: str) -> None:
        """Attribute the rest of a call to another part if it is currently ``part``."""
        if self._inside and self._inside[-1] == part:
            self._credit()
            self._inside[-1] = to

    def _credit(self) -> None:
        now = self._now()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        self._since = now


class DividedLoop(Generic[Division]):
    """Mixed into a training loop that passes a measurement what it needs to repeat, instead of running epochs."""

    def give(self, take: Callable[[Division], object]) -> None:
        """Must be called before the loop runs: ``take`` is called once everything is ready for the first step."""
        self._take = take

    def run_epoch(self) -> None:
        """Run the measurement, and nothing after it."""
        self._take(self._divided())
        self.stop_training = True
        self.val_begin = self.max_epochs + 1

    def _divided(self) -> Division:
        raise NotImplementedError


def one_stage_parts(runner: Runner) -> tuple[nn.Module, nn.Module]:
    """Return a runner's model, without a wrapper, and its head.

    Raises:
        UsageError: the model is not a one-stage detector.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    head = getattr(model, 'bbox_head', None)
    if head is None or not hasattr(model, 'extract_feat'):
        raise UsageError(
            f'only the time of a one-stage detector can be divided, but the model is {type(model).__name__}'
        )
    return model, head
