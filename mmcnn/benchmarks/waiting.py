"""How long training waits for its data."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state


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
