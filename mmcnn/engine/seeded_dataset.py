"""A data set whose samples depend only on (seed, epoch, index), and that tolerates failing samples."""

from __future__ import annotations

import contextlib
import mmap
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import BatchSampler, DataLoader, Dataset, get_worker_info

from mmcnn.engine.random_state import kept_random_state, seed_from
from mmcnn.errors import DataError

#: Number of samples in a row that may fail in the place of one.
MAX_SUBSTITUTES = 10
#: Number of slots for failed files, by a hash of their path.
_SLOTS = 1 << 16


class SampleKey(int):
    """An index with its epoch, so that persistent workers draw new random numbers in each epoch."""

    epoch: int

    def __new__(cls, index: int, epoch: int = 0) -> SampleKey:
        """Return the key of a sample in an epoch."""
        key = super().__new__(cls, index)
        key.epoch = epoch
        return key


class KeyedBatchSampler(BatchSampler):
    """Yields a batch sampler's batches as lists of :class:`SampleKey`, from and up to any batch of the epoch.

    The other batches are never loaded. The length is still that of the whole epoch.

    Args:
        batches (BatchSampler): PyTorch's or another one with an attribute ``sampler``, such as one that groups samples
            by their shape.
    """

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches
        self.epoch = self.first = 0
        self.end: int | None = None

    @property
    def sampler(self) -> Any:
        """The sampler of indices, whose ``set_epoch`` is called by MMEngine."""
        return self.batches.sampler

    def start(self, epoch: int, first: int = 0, end: int | None = None) -> None:
        """Set the epoch, the first batch and the end (exclusive) of the next iteration."""
        self.epoch, self.first, self.end = epoch, first, end
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, first, end = self.epoch, self.first, self.end
        # A loader fetches batches ahead: a later call of start() is for the next iteration. The inner sampler always
        # runs to its end: one that groups by shape would keep the remaining samples for the next epoch.
        for number, batch in enumerate(self.batches):
            if number >= first and (end is None or number < end):
                yield [SampleKey(index, epoch) for index in batch]

    def __len__(self) -> int:
        return len(self.batches)


class SeededDataset(Dataset):
    """Draws all random numbers of a sample from (seed, epoch, index).

    A sample is therefore the same for any worker, order, number of workers and processes, and in a resumed run.
    Transforms must draw from ``random``, NumPy's global generator or PyTorch's. The generators of the caller are not
    affected.

    A failing sample is reported in the log (once for each file) and replaced by another one, also drawn from (seed,
    epoch, index). Failed files are counted over all workers; more than ``max_failed`` of them end the run.

    All other attributes are those of the inner data set.

    Args:
        dataset (Dataset): The inner data set.
        seed (int): Seed of the run.
        max_failed (int, optional): Maximum number of failed files. None: 1 % of the samples, but at least 10.

    Raises:
        DataError: From access to a sample: more than ``max_failed`` files have failed, or 10 samples in a row.
    """

    def __init__(self, dataset: Dataset, seed: int, max_failed: int | None = None) -> None:
        _name_files(dataset)
        self.dataset = dataset
        self.seed = seed
        self.max_failed = max(10, len(dataset) // 100) if max_failed is None else max_failed
        # Anonymous memory is shared with forked workers without using /dev/shm. PyTorch shares it with spawned ones.
        self._failed = torch.frombuffer(mmap.mmap(-1, _SLOTS), dtype=torch.uint8)

    def __getattr__(self, name: str) -> Any:
        # Absent while this object is unpickled.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def num_failed(self) -> int:
        """Number of files that failed in this run, including in its workers."""
        return int(self._failed.sum())

    def __getitem__(self, key: int) -> Any:
        with _own_random_state():
            return self._sample(key)

    def __getitems__(self, keys: Sequence[int]) -> list[Any]:
        """Return a batch for a loader: the caller's generators are saved once for all samples."""
        with _own_random_state():
            return [self._sample(key) for key in keys]

    def _sample(self, key: int) -> Any:
        index, epoch = int(key), getattr(key, 'epoch', 0)
        for attempt in range(MAX_SUBSTITUTES):
            seed_from(self.seed, epoch, int(key), attempt, devices=False)
            if attempt:
                index = int(np.random.randint(len(self)))
            try:
                return self.dataset[index]
            except Exception as error:  # decoders and transforms may raise anything
                self._count(index, error)
                last = error
        raise DataError(
            f'cannot load {MAX_SUBSTITUTES} samples in a row, the last because of {_described(last)}'
        ) from last

    def _count(self, index: int, error: Exception) -> None:
        path = getattr(error, 'path', None) or self._path_of(index)
        slot = zlib.crc32(path.encode()) % _SLOTS
        if self._failed[slot]:
            return
        self._failed[slot] = 1
        count = self.num_failed
        line = f'cannot use {path}: {_described(error)}'
        if count > self.max_failed:
            raise DataError(
                f'{count} files of the training data have failed, more than {self.max_failed}; the last: {line}'
            ) from error
        print_log(f'{line}; replaced by another sample ({count} such files so far)', logger='current', level=30)

    def _path_of(self, index: int) -> str:
        try:
            return str(self.dataset.get_data_info(index)['img_path'])
        except Exception:  # a data set without such records
            return f'sample {index}'


def _own_random_state() -> contextlib.AbstractContextManager:
    """Save the generators of the caller; in a worker nothing else uses them."""
    return kept_random_state() if get_worker_info() is None else contextlib.nullcontext()


def seeded_loader(loader: DataLoader, seed: int, max_failed: int | None = None) -> DataLoader:
    """Return an equal loader of seeded samples, whose batches can begin inside an epoch."""
    names = ('num_workers', 'collate_fn', 'pin_memory', 'timeout', 'worker_init_fn', 'multiprocessing_context')
    names += ('prefetch_factor', 'persistent_workers', 'pin_memory_device')
    return DataLoader(
        SeededDataset(loader.dataset, seed, max_failed),
        batch_sampler=KeyedBatchSampler(loader.batch_sampler),
        **{name: getattr(loader, name) for name in names},
    )


class _NamingPipeline:
    """A pipeline whose errors have the file of the failing record as ``path``."""

    def __init__(self, pipeline: Callable[[Any], Any]) -> None:
        self.pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        if name == 'pipeline' or name.startswith('__'):  # while this object is unpickled
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def __call__(self, record: Any) -> Any:
        path = record.get('img_path') if isinstance(record, dict) else None
        try:
            return self.pipeline(record)
        except Exception as error:  # raised again
            if path is not None and getattr(error, 'path', None) is None:
                error.path = path
            raise


def _name_files(dataset: Any) -> None:
    """Make the pipelines of a data set, and of those inside it, name the failing file.

    A sample may consist of records other than the requested one, for example in a mosaic of MMDetection.
    """
    if callable(pipeline := getattr(dataset, 'pipeline', None)) and not isinstance(pipeline, _NamingPipeline):
        with contextlib.suppress(AttributeError):  # a read-only property: its files are not named
            dataset.pipeline = _NamingPipeline(pipeline)
    inside = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for each in inside:
        if each is not None:
            _name_files(each)


def _described(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
