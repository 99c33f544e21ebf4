"""Measures whether the memory of the data-loading processes grows over many batches (Linux).

Prints the memory of this process and its workers together, each shared page counted once, and its slope. This program
is for developers of mmcnn and not installed with it; docs/benchmarks.md has the results.

  python tools/memory_slope.py --data PATH --img-size 640 --batch-size 4 --workers 2 --cache-gb 0.2
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from mmcnn.benchmarks.pipeline import data_folder, own_config
from mmcnn.benchmarks.process_memory import family, proportional_set_size
from mmcnn.cli.arguments import add_options, options_from
from mmcnn.cli.errors import friendly_errors
from mmcnn.datasets import DetectorData
from mmcnn.runs.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class SlopeOptions(Options):
    """Options of the measurement."""

    data: Annotated[str | None, Option('a data folder (default: drawn photographs)', 'PATH')] = None
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    batches: Annotated[int, Option('number of batches (default: 2000)', 'N', minimum=100)] = 2000
    workers: Annotated[int, Option('data-loading processes (default: 2)', 'N', minimum=0)] = 2
    cache_gb: Annotated[float, Option('memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)] = 1.0


def training_loader(folder: DetectorData, img_size: int, batch_size: int, workers: int, cache_gb: float) -> DataLoader:
    """Return a data loader of mosaics, as in training."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(own_config(folder, img_size, cache_gb=cache_gb))
    return DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=workers,
        collate_fn=pseudo_collate,
        persistent_workers=workers > 0,
    )


def measure(loader: DataLoader, batches: int, every: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Run a loader, epoch after epoch.

    Args:
        loader: any data loader.
        batches: number of batches.
        every: number of batches between readings.

    Returns:
        Numbers of batches, and the memory of this process and its workers at these, in bytes.
    """
    counts, sizes, count = [], [], 0
    while count < batches:
        for _ in loader:
            count += 1
            if count % every == 0:
                counts.append(count)
                sizes.append(sum(map(proportional_set_size, family(os.getpid()))))
            if count == batches:
                break
    return np.array(counts), np.array(sizes)


def report(counts: np.ndarray, sizes: np.ndarray) -> str:
    """Return a sentence with the slope of the second half, when all caches are full."""
    half = len(counts) // 2
    slope = np.polyfit(counts[half:], sizes[half:], 1)[0]
    first, middle, last = (sizes[i] / 1e6 for i in (0, half, -1))
    return (
        f'{counts[-1]} batches: {first:.0f} MB after {counts[0]}, {middle:.0f} MB after {counts[half]}, {last:.0f} MB '
        f'at the end; the slope of the second half is {round(slope / 1000, 1) + 0.0:+.1f} MB per 1,000 batches'
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, SlopeOptions)
    with friendly_errors():
        options = options_from(parser.parse_args(), SlopeOptions)
        with data_folder(options.data) as folder:
            loader = training_loader(folder, options.img_size, options.batch_size, options.workers, options.cache_gb)
            print(report(*measure(loader, options.batches)))


if __name__ == '__main__':
    main()
