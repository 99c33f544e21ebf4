"""CPU seconds of a training step, attributed to its parts."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.hooks import EMAHook, IterTimerHook, LoggerHook, RuntimeInfoHook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor

from mmcnn.benchmarks.gpu.loader import Endless
from mmcnn.engine import ResumableTrainLoop
from mmcnn.errors import UsageError
from mmcnn.registry import LOOPS
from mmcnn.runs.console_hook import ConsoleHook
from mmcnn.runs.history_hook import HistoryHook

#: Forward and backward pass of backbone, neck and the head's layers: convolution, BatchNorm, activation, upsampling ...
NETWORK = 'network'
LOADER, PREPROCESSING, LOSS, LOSS_BACKWARD = 'loader', 'preprocessing', 'loss', 'backward of the loss'
OPTIMIZER, AVERAGE, GUARD = 'optimizer, clipping', 'moving average', 'step guard'
LOGGING, HOOKS, LOOP = 'logging', 'other hooks', 'loop'
#: All parts, in the order of reports.
PARTS = (NETWORK, LOADER, PREPROCESSING, LOSS, LOSS_BACKWARD, OPTIMIZER, AVERAGE, GUARD, LOGGING, HOOKS, LOOP)
#: Hooks that report the progress of a training.
_TELLING = (LoggerHook, RuntimeInfoHook, IterTimerHook, HistoryHook, ConsoleHook)


class PartClock:
    """Attributes each CPU second of the process to the innermost part that it is spent in."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
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

    def switch(self, part: str, to: str) -> None:
        """Attribute the rest of a call to another part if it is currently ``part``."""
        if self._inside and self._inside[-1] == part:
            self._credit()
            self._inside[-1] = to

    def _credit(self) -> None:
        now = time.process_time()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        self._since = now


class DividedSteps:
    """Steps of a training loop whose time is divided.

    Args:
        loop: the loop, before its first iteration.
        batches: an endless iterator.
        after: called after each step.

    Raises:
        UsageError: the model is not a one-stage detector, whose parts these are.
    """

    def __init__(
        self, loop: EpochBasedTrainLoop, batches: Iterator[Any], after: Callable[[], object] = lambda: None
    ) -> None:
        self.clock = clock = PartClock()
        self._count = 0
        runner, model = loop.runner, loop.runner.model
        model = model.module if is_model_wrapper(model) else model
        head = getattr(model, 'bbox_head', None)
        if head is None or not hasattr(model, 'extract_feat'):
            raise UsageError(
                f'only the step of a one-stage detector can be divided, but the model is {type(model).__name__}'
            )
        clock.time(model.data_preprocessor, 'forward', PREPROCESSING)
        clock.time(model, 'extract_feat', NETWORK)
        head.forward = clock.timed(NETWORK, self._watched(head.forward))
        for owner, method in ((head, 'loss'), (model, 'parse_losses')):
            clock.time(owner, method, LOSS)
        wrapper = runner.optim_wrapper
        clock.time(wrapper, 'backward', LOSS_BACKWARD)
        for method in ('step', 'zero_grad'):
            clock.time(wrapper, method, OPTIMIZER)
        for hook in runner.hooks:
            part = AVERAGE if isinstance(hook, EMAHook) else LOGGING if isinstance(hook, _TELLING) else HOOKS
            for method in ('before_train_iter', 'after_train_iter'):
                clock.time(hook, method, part)
        take = clock.timed(LOADER, lambda: next(batches))

        def step() -> None:
            loop.run_iter(self._count, take())
            after()
            self._count += 1

        self._step = clock.timed(LOOP, step)

    def mean(self, count: int) -> dict[str, float]:
        """Return the seconds of each part, the mean of ``count`` steps."""
        self.clock.seconds.clear()
        for _ in range(count):
            self._step()
        return {part: self.clock.seconds[part] / count for part in PARTS}

    def _watched(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Watch the backward pass, which reaches the outputs of the layers after that of the loss, which came later."""

        def reached(gradient: Tensor) -> None:
            self.clock.switch(LOSS_BACKWARD, NETWORK)

        def watched(*args: Any, **kwargs: Any) -> Any:
            found = forward(*args, **kwargs)
            for each in _tensors(found):
                if each.requires_grad:
                    each.register_hook(reached)
            return found

        return watched


class _Divided:
    """A loop that only passes its steps to a measurement."""

    def give(self, take: Callable[[DividedSteps], object]) -> None:
        """Must be called before the loop runs: ``take`` is called once everything is ready for the first step."""
        self._take = take

    def run_epoch(self) -> None:
        """Run the measurement, and no epoch after it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._take(self._steps())
        self.stop_training = True


@LOOPS.register_module()
class DividedTrainLoop(_Divided, ResumableTrainLoop):
    """Ours."""

    def _steps(self) -> DividedSteps:
        sampler = self.dataloader.batch_sampler
        sampler.batches = Endless(sampler.batches)
        sampler.start(self.epoch)
        steps = DividedSteps(self, iter(self.dataloader), self._stop_inside_if_asked)
        for owner, methods in (
            (self._guard, ('update_params', 'read')),
            (self._refusals, ('before_step', 'after_step')),
        ):
            for method in methods:
                steps.clock.time(owner, method, GUARD)
        return steps


@LOOPS.register_module()
class DividedMMEngineLoop(_Divided, EpochBasedTrainLoop):
    """MMEngine's."""

    def _steps(self) -> DividedSteps:
        return DividedSteps(self, _again_and_again(self.dataloader))


def _tensors(found: Any) -> Iterator[Tensor]:
    """Yield the outputs of a head's layers: tensors in tuples and lists."""
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, (tuple, list)):
        for each in found:
            yield from _tensors(each)


def _again_and_again(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
