"""How many images a second a loader gives, alone and to a training.

Workers that begin together are done together: their batches come in rounds of one from each, with nothing in between.
So only whole rounds are measured. The last batch of a round is the one that the clock starts and stops at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from mmcnn.benchmarks.gpu.aims import WAITING

#: Steps that take long are broken off in the middle of a round after so many times the seconds that they may take.
PATIENCE = 2.0

Clock = Callable[[], float]


class Endless(BatchSampler):
    """Another sampler's batches again and again.

    At the end of an epoch a loader has nothing in store, and all its workers begin anew. The epochs of the data that is
    measured on are short, those of a training are not.

    Args:
        batches: the other one.
    """

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches

    @property
    def sampler(self) -> Any:
        """The other's sampler of indices."""
        return self.batches.sampler

    @property
    def batch_size(self) -> int:
        """Images of a batch."""
        return self.batches.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield from self.batches

    def __len__(self) -> int:
        return len(self.batches)


class LoaderSpeed:
    """Measures a loader that has begun.

    Args:
        batches: what it gives, without an end.
        workers: its processes; 0: this one loads.
        ahead: batches that each of them makes before they are asked for.
        clock: seconds that pass.
    """

    def __init__(self, batches: Iterator[Any], workers: int, ahead: int, clock: Clock = time.perf_counter) -> None:
        self._batches = batches
        self._round = max(workers, 1)
        self._store = workers * ahead
        self._clock = clock

    @classmethod
    def of(cls, loader: DataLoader, batches: Iterator[Any]) -> LoaderSpeed:
        """Of PyTorch's loader, and an iterator of it."""
        return cls(batches, loader.num_workers, loader.prefetch_factor or 0)

    def alone(self, seconds: float) -> dict[str, float | int]:
        """Where nothing else is done.

        Args:
            seconds: that it may take; whole rounds are waited for.

        Returns:
            ``loader_images_per_second`` and ``loader_rounds``, of how many.
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
        """As in a training, from a loader that has nothing in store.

        Args:
            step: is given each batch.
            wait: returns when the device has done all steps.
            seconds: that it may take after a first round.

        Returns:
            ``images_per_second``; ``waiting_share``, of the time in which the next batch was waited for;
            ``loaded_steps``, how many were measured.
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
        """At the end of a round. Steps that wait for no batch have no rounds: there, after :data:`PATIENCE`, at any."""
        if steps == 0:
            return False
        if steps % self._round == 0:
            return elapsed >= seconds
        return elapsed >= PATIENCE * seconds and waited < WAITING * elapsed

    def _empty(self) -> None:
        """Takes what was made while there was time."""
        for _ in range(self._store):
            next(self._batches)


def images_of(batch: Any) -> int:
    """How many images a batch has."""
    return len(batch['data_samples'])
