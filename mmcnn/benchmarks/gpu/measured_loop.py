"""A training loop that measures its own iterations."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from mmcnn.benchmarks.gpu.loader import Endless, LoaderSpeed, images_of
from mmcnn.benchmarks.gpu.measurement import Report, Timer
from mmcnn.benchmarks.gpu.profile import places_of_waits, profiled
from mmcnn.benchmarks.gpu.traffic import work_of
from mmcnn.engine import ResumableTrainLoop
from mmcnn.registry import LOOPS

#: Number of warm-up iterations, and of profiled ones.
WARM_UP, PROFILED = 5, 3
#: Fractions of the remaining seconds: the step alone, both together, the loader alone.
STEP, BOTH, LOADER = 0.3, 0.5, 0.2
#: Number of iterations that are timed together.
BLOCK = 5


@LOOPS.register_module()
class MeasuredTrainLoop(ResumableTrainLoop):
    """Times iterations as they are in a training, with all hooks: on one batch, and on the loader's.

    There is no validation, and no epoch ends.
    """

    def measure(self, timer: Timer, report: Report, prepared: Callable[[torch.nn.Module], None], with_loader: bool):
        """Set up the measurement; must be called before :meth:`run`.

        Args:
            timer: time limit in seconds.
            report: takes the values.
            prepared: takes the model once its operations are counted: compilation, which PyTorch permanently skips for
                a network that was counted while compiled.
            with_loader: also time the loader.
        """
        self._timer, self._report, self._prepared, self._with_loader = timer, report, prepared, with_loader

    def run_epoch(self) -> None:
        """Measure everything; the run ends with it."""
        runner, report, sampler = self.runner, self._report, self.dataloader.batch_sampler
        model = runner.model
        self._device = next(model.parameters()).device
        sampler.batches = Endless(sampler.batches)
        sampler.start(self.epoch)
        runner.call_hook('before_train_epoch')
        model.train()
        start = time.perf_counter()
        batches = iter(self.dataloader)
        batch = next(batches)
        report(seconds_of_first_batch=round(time.perf_counter() - start, 2))
        report(input_shape=list(model.data_preprocessor(batch, True)['inputs'].shape))
        report(**work_of(lambda: self._iterate(batch), self._device))
        self._prepared(model)
        start = time.perf_counter()
        self._iterate(batch)
        self._wait()
        report(seconds_of_first_step=round(time.perf_counter() - start, 2))
        for _ in range(WARM_UP):
            self._iterate(batch)
        seconds = self._timer.left()
        self._step_alone(batch, STEP * seconds)
        report(**profiled(lambda: self._iterate(batch), PROFILED, self._device))
        if self._device.type == 'cuda':
            report(places_of_waits=places_of_waits(lambda: self._iterate(batch)))
        if self._with_loader:
            speed = LoaderSpeed.of(self.dataloader, batches)
            report(**speed.with_steps(self._iterate, self._wait, BOTH * seconds))
            report(**speed.alone(LOADER * seconds))
        self.stop_training = True

    def _iterate(self, batch: Any) -> None:
        self.run_iter(self.iter, batch)

    def _wait(self) -> None:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)

    def _step_alone(self, batch: Any, seconds: float) -> None:
        """Time iterations on one batch, as returned by the loader, and its transfer to the device in each."""
        step, blocks = self._median(lambda: self._iterate(batch), seconds)
        report = self._report
        report(step_ms=round(1e3 * step, 3), step_images_per_second=round(images_of(batch) / step, 1))
        report(step_blocks=blocks)
        if self._device.type == 'cuda':
            report(
                memory_gb=round(torch.cuda.max_memory_allocated(self._device) / 1e9, 2),
                memory_reserved_gb=round(torch.cuda.max_memory_reserved(self._device) / 1e9, 2),
            )
        preprocess = self.runner.model.data_preprocessor
        report(preprocess_ms=round(1e3 * self._median(lambda: preprocess(batch, True), 0)[0], 3))

    def _median(self, call: Callable[[], object], seconds: float) -> tuple[float, int]:
        """Return the median of a call's seconds, and the number of blocks, at least one."""
        times, end = [], time.perf_counter() + seconds
        self._wait()
        while time.perf_counter() < end or not times:
            start = time.perf_counter()
            for _ in range(BLOCK):
                call()
            self._wait()
            times.append((time.perf_counter() - start) / BLOCK)
        return statistics.median(times), len(times)
