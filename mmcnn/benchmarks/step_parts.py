"""CPU seconds of a training step, attributed to its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.hooks import EMAHook, IterTimerHook, LoggerHook, RuntimeInfoHook
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor

from mmcnn.benchmarks.divided import NETWORK, DividedLoop, PartClock, one_stage_parts
from mmcnn.benchmarks.gpu.loader import Endless
from mmcnn.engine import ResumableTrainLoop
from mmcnn.registry import LOOPS
from mmcnn.runs.console_hook import ConsoleHook
from mmcnn.runs.history_hook import HistoryHook

LOADER, PREPROCESSING, LOSS, LOSS_BACKWARD = 'loader', 'preprocessing', 'loss', 'backward of the loss'
OPTIMIZER, AVERAGE, GUARD = 'optimizer, clipping', 'moving average', 'step guard'
LOGGING, HOOKS, LOOP = 'logging', 'other hooks', 'loop'
#: All parts, in the order of reports; the network includes its backward pass.
PARTS = (NETWORK, LOADER, PREPROCESSING, LOSS, LOSS_BACKWARD, OPTIMIZER, AVERAGE, GUARD, LOGGING, HOOKS, LOOP)
#: Hooks that report the progress of a training.
_TELLING = (LoggerHook, RuntimeInfoHook, IterTimerHook, HistoryHook, ConsoleHook)


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
        runner = loop.runner
        model, head = one_stage_parts(runner)
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


@LOOPS.register_module()
class DividedTrainLoop(DividedLoop[DividedSteps], ResumableTrainLoop):
    """Ours."""

    def _divided(self) -> DividedSteps:
        _begin_epoch(self)
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
class DividedMMEngineLoop(DividedLoop[DividedSteps], EpochBasedTrainLoop):
    """MMEngine's."""

    def _divided(self) -> DividedSteps:
        _begin_epoch(self)
        return DividedSteps(self, _again_and_again(self.dataloader))


def _begin_epoch(loop: EpochBasedTrainLoop) -> None:
    loop.runner.call_hook('before_train_epoch')
    loop.runner.model.train()


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
