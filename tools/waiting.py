"""Measures how long a training waits for its data, where the workers draw the images and where the device does.

Both sides train in turn (A B A B ...), on a GPU in bfloat16. Prints images a second and the share of the time in which
the next batch was waited for. A measurement for developers of mmcnn, which is not installed with it; docs/benchmarks.md
has what came of it.

  python tools/waiting.py --data PATH --img-size 640 --batch-size 32 --workers 12 --cache-gb 20 --iterations 200
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmcnn.benchmarks.pipeline import data_folder
from mmcnn.cli.arguments import add_options, options_from
from mmcnn.cli.errors import friendly_errors
from mmcnn.runs.options import ModelOptions, Option, TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state


@dataclass(frozen=True, kw_only=True)
class WaitingOptions(ModelOptions):
    """What the measurement can be told."""

    config: Annotated[str, Option('config of the model (default: yolov4_cspdarknet53)', 'NAME')] = 'yolov4_cspdarknet53'
    data: Annotated[str | None, Option('a data folder (default: drawn photographs)', 'PATH')] = None
    img_size: Annotated[int, Option('side of the images, in pixels (default: 320)', 'N', minimum=1)] = 320
    batch_size: Annotated[int, Option('images per batch (default: 16)', 'N', minimum=1)] = 16
    workers: Annotated[int, Option('data-loading processes (default: 2)', 'N', minimum=0)] = 2
    cache_gb: Annotated[float, Option('memory for decoded images, in 10^9 bytes (default: 1)', 'G', minimum=0)] = 1.0
    iterations: Annotated[int, Option('iterations of a run (default: 100)', 'N', minimum=1)] = 100
    runs: Annotated[int, Option('runs of each side (default: 3)', 'N', minimum=1)] = 3


def sides(options: TrainOptions, iterations: int, runs: int) -> dict[str, list[tuple[float, float]]]:
    """:func:`measure` of a training whose images are drawn by the workers, and by the device, in turn (A B A B ...).

    Args:
        options: of the training; its work dir is a temporary one.
        iterations: how many are measured each time.
        runs: of each side.
    """
    results: dict[str, list[tuple[float, float]]] = {'drawn by the workers': [], 'drawn by the device': []}
    for _ in range(runs):
        for name, on_device in zip(results, (False, True), strict=True):
            drawing = {'train_dataloader.dataset.device_augmentation': on_device}
            with tempfile.TemporaryDirectory() as folder, kept_process_state():
                side = replace(options, work_dir=folder, cfg_options={**options.cfg_options, **drawing})
                results[name].append(measure(prepare(side).cfg, iterations))
            print(f'{name}: {results[name][-1][0]:.1f} images/s', flush=True)
    return results


def measure(cfg: Config, iterations: int, warm_up: int = 10) -> tuple[float, float]:
    """Trains for some iterations, on a GPU in bfloat16.

    Args:
        cfg: complete and wired.
        iterations: how many are measured.
        warm_up: how many go before.

    Returns:
        Images a second, and the share of the time in which the next batch was waited for.
    """
    runner = Runner.from_cfg(cfg)
    model, device = runner.model, next(runner.model.parameters()).device
    kind = 'OptimWrapper' if device.type == 'cpu' else 'AmpOptimWrapper'
    wrapper = dict(cfg.optim_wrapper, type=kind)
    if kind == 'AmpOptimWrapper':
        wrapper['dtype'] = 'bfloat16'
    optim_wrapper = runner.build_optim_wrapper(wrapper)
    model.train()
    loader = runner.build_dataloader(cfg.train_dataloader, seed=0)
    waits, totals, images = [], [], 0
    batches = iter(loader)
    for iteration in range(warm_up + iterations):
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        waited = time.perf_counter() - start
        _step(model, optim_wrapper, batch, device)
        if iteration >= warm_up:
            waits.append(waited)
            totals.append(time.perf_counter() - start)
            images += len(batch['data_samples'])
    return images / sum(totals), sum(waits) / sum(totals)


def _step(model: nn.Module, optim_wrapper, batch: dict, device: torch.device) -> None:
    model.train_step(batch, optim_wrapper)
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def report(results: dict[str, list[tuple[float, float]]]) -> str:
    """Medians, a line for each side."""
    return '\n'.join(
        f'{name}: {statistics.median(rate for rate, _ in values):.1f} images/s, '
        f'{statistics.median(share for _, share in values):.1%} of the time waiting for data (median of {len(values)})'
        for name, values in results.items()
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, WaitingOptions)
    with friendly_errors():
        options = options_from(parser.parse_args(), WaitingOptions)
        with data_folder(options.data) as folder:
            training = TrainOptions(
                config=options.config, backbone=options.backbone, cfg_options=options.cfg_options,
                device=options.device, data=folder.root, img_size=options.img_size, batch_size=options.batch_size,
                workers=options.workers, cache_gb=options.cache_gb,
            )  # fmt: skip
            print(report(sides(training, options.iterations, options.runs)))


if __name__ == '__main__':
    main()
