"""A training loop that measures its own iterations."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mmcnn.benchmarks.gpu.measurement import Report, Timer
from mmcnn.benchmarks.gpu.profile import places_of_waits, profiled
from mmcnn.engine import ResumableTrainLoop
from mmcnn.registry import LOOPS

#: Iterations before anything is measured, and those that are profiled.
WARM_UP, PROFILED = 5, 3
#: Shares of the seconds that are left once the profile is there: the step alone, the loader alone, both together.
STEP, LOADER, BOTH = 0.3, 0.2, 0.5
#: Iterations of which each time is taken.
BLOCK = 5


@LOOPS.register_module()
class MeasuredTrainLoop(ResumableTrainLoop):
    """Takes the time of iterations as they are in a training, with all hooks: on one batch, and on the loader's.

    Nothing is validated, and no epoch ends: one that does starts again at once.
    """

    def measure(self, timer: Timer, report: Report, prepared: Callable[[torch.nn.Module], None], with_loader: bool):
        """Has to be called before :meth:`run`.

        Args:
            timer: seconds that all may take.
            report: takes the values.
            prepared: is given the model once its operations are counted: compilation.
            with_loader: take the time of the loader, too.
        """
        self._timer, self._report, self._prepared, self._with_loader = timer, report, prepared, with_loader

    def run_epoch(self) -> None:
        """All that is measured; the run ends with it."""
        runner, report = self.runner, self._report
        model = runner.model
        self._device = next(model.parameters()).device
        batches = self._batches()
        runner.call_hook('before_train_epoch')
        model.train()
        start = time.perf_counter()
        batch = next(batches)
        report(seconds_of_first_batch=round(time.perf_counter() - start, 2))
        fixed = model.data_preprocessor.cast_data(batch)
        self._images = len(fixed['data_samples'])
        shape = model.data_preprocessor(fixed, True)['inputs'].shape
        report(input_shape=list(shape))
        report(tflop_of_a_step=round(self._tflop(fixed), 4))
        self._prepared(model)
        start = time.perf_counter()
        self._iterate(fixed)
        self._wait()
        report(seconds_of_first_step=round(time.perf_counter() - start, 2))
        for _ in range(WARM_UP):
            self._iterate(fixed)
        seconds = self._timer.left()
        self._step_alone(fixed, STEP * seconds)
        report(**profiled(lambda: self._iterate(fixed), PROFILED, self._device))
        if self._device.type == 'cuda':
            report(places_of_waits=places_of_waits(lambda: self._iterate(fixed)))
        if self._with_loader:
            self._loader_alone(batches, LOADER * seconds)
            self._both(batches, BOTH * seconds)
        self.stop_training = True

    def _batches(self) -> Iterator[Any]:
        while True:
            self.dataloader.batch_sampler.start(self.epoch, 0)
            yield from self.dataloader

    def _iterate(self, batch: Any) -> None:
        self.run_iter(self.iter, batch)

    def _wait(self) -> None:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)

    def _tflop(self, batch: Any) -> float:
        """Floating-point operations of one iteration, in 10^12, of products and convolutions."""
        counter = FlopCounterMode(display=False)
        with counter:
            self._iterate(batch)
        return counter.get_total_flops() / 1e12

    def _step_alone(self, batch: Any, seconds: float) -> None:
        """Iterations on one batch, which is on the device."""
        times, end = [], time.perf_counter() + seconds
        self._wait()
        while time.perf_counter() < end or not times:
            start = time.perf_counter()
            for _ in range(BLOCK):
                self._iterate(batch)
            self._wait()
            times.append((time.perf_counter() - start) / BLOCK)
        each = statistics.median(times)
        self._report(
            step_ms=round(1e3 * each, 3), step_images_per_second=round(self._images / each, 1), step_blocks=len(times)
        )
        if self._device.type == 'cuda':
            self._report(
                memory_gb=round(torch.cuda.max_memory_allocated(self._device) / 1e9, 2),
                memory_reserved_gb=round(torch.cuda.max_memory_reserved(self._device) / 1e9, 2),
            )

    def _loader_alone(self, batches: Iterator[Any], seconds: float) -> None:
        """How many images the loader gives where nothing else is done."""
        for _ in range(self._ahead()):  # made while there was time
            next(batches)
        start, images = time.perf_counter(), 0
        while time.perf_counter() - start < seconds or not images:
            images += len(next(batches)['data_samples'])
        self._report(loader_images_per_second=round(images / (time.perf_counter() - start), 1))

    def _both(self, batches: Iterator[Any], seconds: float) -> None:
        """Iterations on what the loader gives, as in a training, from a loader that has nothing in store."""
        for _ in range(BLOCK):
            self._iterate(next(batches))
        self._wait()
        begin, waited, images = time.perf_counter(), 0.0, 0
        while time.perf_counter() - begin < seconds or not images:
            start = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - start
            self._iterate(batch)
            images += len(batch['data_samples'])
        self._wait()
        elapsed = time.perf_counter() - begin
        self._report(images_per_second=round(images / elapsed, 1), waiting_share=round(waited / elapsed, 4))

    def _ahead(self) -> int:
        """Batches that the loader makes before they are asked for."""
        return self.dataloader.num_workers * (self.dataloader.prefetch_factor or 0)
