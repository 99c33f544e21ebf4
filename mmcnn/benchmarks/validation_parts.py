"""Seconds of an epoch, and of the validation after it by parts."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from mmcnn.benchmarks.divided import NETWORK, DividedLoop, PartClock, one_stage_parts
from mmcnn.engine import BNStatisticsHook, ResumableTrainLoop
from mmcnn.registry import LOOPS
from mmcnn.runs.folding_hook import FoldingHook

BATCHES, BOXES, METRICS = 'batches, letterboxes', 'boxes and NMS', 'metrics'
FOLDING, AVERAGE, HOOKS, LOOP = 'folding', 'averaged weights', 'other hooks', 'loop'
#: The parts of a validation, in the order of reports.
PARTS = (NETWORK, BATCHES, BOXES, METRICS, FOLDING, AVERAGE, HOOKS, LOOP)
#: The epoch before it, which does not include the other two.
EPOCH, STATISTICS, CHECKPOINTS = 'epoch', "BatchNorm's statistics", 'checkpoints'
_KINDS = {EMAHook: AVERAGE, FoldingHook: FOLDING, CheckpointHook: CHECKPOINTS, BNStatisticsHook: STATISTICS}
_AROUND = ('before_val', 'before_val_epoch', 'before_val_iter', 'after_val_iter', 'after_val_epoch', 'after_val')


class DividedValidation:
    """Epochs of a training loop, each followed by a validation whose time is divided.

    Args:
        loop: the loop, before its first epoch.
        run_epoch: runs an epoch.

    Raises:
        UsageError: the model is not a one-stage detector, whose parts these are.
    """

    def __init__(self, loop: EpochBasedTrainLoop, run_epoch: Callable[[], object]) -> None:
        self.clock = clock = PartClock(time.perf_counter)
        self._after_epoch: dict[str, float] = {}
        runner = loop.runner
        model, head = one_stage_parts(runner)
        clock.time(model.data_preprocessor, 'forward', BATCHES)
        clock.time(model, 'extract_feat', NETWORK)
        clock.time(model, 'predict', BOXES)
        for method in ('process', 'evaluate'):
            clock.time(runner.val_evaluator, method, METRICS)
        for hook in runner.hooks:
            part = next((part for kind, part in _KINDS.items() if isinstance(hook, kind)), HOOKS)
            for method in _AROUND:
                clock.time(hook, method, part)
            if part in (CHECKPOINTS, STATISTICS):
                hook.after_train_epoch = self._whole(part, hook.after_train_epoch)
        runner.val_loop.dataloader = _TimedLoader(runner.val_loop.dataloader, clock)
        self._head = type(head)
        self._run_epoch = run_epoch
        self._validate = clock.timed(LOOP, runner.val_loop.run)

    def measure(self) -> dict[str, float]:
        """Return the seconds of one epoch and of each part of the validation after it."""
        self._after_epoch = {CHECKPOINTS: 0.0, STATISTICS: 0.0}
        start = time.perf_counter()
        self._run_epoch()
        epoch = time.perf_counter() - start - sum(self._after_epoch.values())
        seconds = self.clock.seconds
        seconds.clear()  # a training uses parts of a validation
        with self.clock.timing(self._head, 'forward', NETWORK):  # a folded head is a copy
            self._validate()
        return {
            EPOCH: epoch,
            **{part: seconds[part] for part in PARTS},
            **{part: seconds[part] + before for part, before in self._after_epoch.items()},
        }

    def _whole(self, part: str, call: Callable[..., None]) -> Callable[..., None]:
        """Return a call after an epoch whose whole time is the part's, including that of the network."""

        @functools.wraps(call)
        def timed_call(*args: Any, **kwargs: Any) -> None:
            start = time.perf_counter()
            call(*args, **kwargs)
            self._after_epoch[part] += time.perf_counter() - start

        return timed_call


class _TimedLoader:
    """A loader whose batches are waited for by a clock."""

    def __init__(self, loader: DataLoader, clock: PartClock) -> None:
        self._loader, self._clock = loader, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches = self._clock.timed(BATCHES, lambda: iter(self._loader))()
        following = self._clock.timed(BATCHES, lambda: next(batches))
        with contextlib.suppress(StopIteration):
            while True:
                yield following()


@LOOPS.register_module()
class ValidatedTrainLoop(DividedLoop[DividedValidation], ResumableTrainLoop):
    """Ours."""

    def _divided(self) -> DividedValidation:
        return DividedValidation(self, functools.partial(ResumableTrainLoop.run_epoch, self))


@LOOPS.register_module()
class ValidatedMMEngineLoop(DividedLoop[DividedValidation], EpochBasedTrainLoop):
    """MMEngine's."""

    def _divided(self) -> DividedValidation:
        return DividedValidation(self, functools.partial(EpochBasedTrainLoop.run_epoch, self))
