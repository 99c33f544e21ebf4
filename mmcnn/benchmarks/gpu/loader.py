"""Images per second of a loader, alone and in a training.

Workers that begin together finish together: their batches come in rounds of one from each, with nothing in between. So
only whole rounds are measured. The clock starts and stops at the last batch of a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from mmcnn.benchmarks.gpu.aims import WAITING

#: Slow steps are interrupted in the middle of a round after this many times their time limit.
PATIENCE = 2.0

Clock = Callable[[], float]


class Endless(BatchSampler):
    """Repeats another sampler's batches endlessly.

    At the end of an epoch a loader has no batches in store, and all its workers start again. The epochs of the data for
    the measurement are short, unlike those of a training.

    Args:
        batches: the other sampler.
    """

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches

    @property
    def sampler(self) -> Any:
        """The other sampler's sampler of indices."""
        return self.batches.sampler

    @property
    def batch_size(self) -> int:
        """Number of images in a batch."""
        return self.batches.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield from self.batches

    def __len__(self) -> int:
        return len(self.batches)


class LoaderSpeed:
    """Measures a loader that has started.

    Args:
        batches: its batches, without end.
        workers: number of its processes; 0: this one loads.
        ahead: number of batches that each of them prefetches.
        clock: returns elapsed seconds.
    """

    def __init__(self, batches: Iterator[Any], workers: int, ahead: int, clock: Clock = time.perf_counter) -> None:
        self._batches = batches
        self._round = max(workers, 1)
        self._store = workers * ahead
        self._clock = clock

    @classmethod
    def of(cls, loader: DataLoader, batches: Iterator[Any]) -> LoaderSpeed:
        """Return the measurement of PyTorch's loader, with an iterator of it."""
        return cls(batches, loader.num_workers, loader.prefetch_factor or 0)

    def alone(self, seconds: float) -> dict[str, float | int]:
        """Measure the loader alone.

        Args:
            seconds: time limit; whole rounds are completed.

        Returns:
            ``loader_images_per_second`` and ``loader_rounds``, their number.
        """
        self._empty()
        for _ in range(self._round):
            next(self._batches)
        start, images, rounds = self._clock(), 0, 0
        while rounds == 0 or self._clock() - start < seconds:
            images += sum(images_of(next(self._batches)) for _ in range(self._round))
            rounds += 1
        return dict(loader_images_per_second=round(images / (self._clock() - start), 1), loader_rounds=rounds)

    def with_steps(
        self, step: Callable[[Any], None], wait: Callable[[], None], seconds: float
    ) -> dict[str, float | int]:
        """Measure as in a training, from a loader without batches in store.

        Args:
            step: takes each batch.
            wait: returns when the device has done all steps.
            seconds: time limit after a first round.

        Returns:
            ``images_per_second``; ``waiting_share``, the fraction of the time spent waiting for the next batch;
            ``loaded_steps``, the number of measured steps.
        """
        self._empty()
        begin = self._clock()
        for _ in range(self._round):
            step(next(self._batches))
            if self._clock() - begin >= seconds:
                break
        wait()
        start, waited, images, steps = self._clock(), 0.0, 0, 0
        while not self._is_over(steps, waited, self._clock() - start, seconds):
            asked = self._clock()
            batch = next(self._batches)
            waited += self._clock() - asked
            step(batch)
            images += images_of(batch)
            steps += 1
        wait()
        elapsed = self._clock() - start
        return dict(
            images_per_second=round(images / elapsed, 1), waiting_share=round(waited / elapsed, 4), loaded_steps=steps
        )

    def _is_over(self, steps: int, waited: float, elapsed: float, seconds: float) -> bool:
        """Return whether a round has ended. Steps that wait for no batch have no rounds: any after :data:`PATIENCE`."""
        if steps == 0:
            return False
        if steps % self._round == 0:
            return elapsed >= seconds
        return elapsed >= PATIENCE * seconds and waited < WAITING * elapsed

    def _empty(self) -> None:
        """Take the batches that were prefetched."""
        for _ in range(self._store):
            next(self._batches)


def images_of(batch: Any) -> int:
    """Return the number of images in a batch."""
    return len(batch['data_samples'])
