"""Seconds that a checkpoint takes to open, beside a bare ``torch.load(weights_only=True)`` of the same file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import DefaultScope

from mmcnn.weights.checkpoint import Checkpoint

#: Iterations whose losses the message hub of the written checkpoint holds.
ITERATIONS = 1000


def write_checkpoint(cfg: Config, path: Path) -> None:
    """Writes a checkpoint as a training leaves it: weights, their averages, momentum, losses and the config.

    Args:
        cfg: a complete, wired config; the model's values are random.
        path: of the file.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    losses = {f'train/loss_{name}': HistoryBuffer([0.5] * ITERATIONS, [1] * ITERATIONS) for name in ('cls', 'bbox')}
    content = dict(
        meta=dict(epoch=1, iter=ITERATIONS, cfg=cfg.pretty_text, dataset_meta=dict(classes=('circle', 'square'))),
        state_dict=model.state_dict(),
        ema_state_dict={f'module.{key}': value.clone() for key, value in model.state_dict().items()},
        optimizer=optimizer.state_dict(),
        message_hub=dict(log_scalars=losses, runtime_info=dict(iter=ITERATIONS), resumed_keys={}),
    )
    torch.save(content, path)


def sides(path: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by name: both read the weights of a file, neither takes its SHA-256."""
    return {
        'mmcnn': lambda: Checkpoint.open(path).state_dict,
        'torch.load': lambda: torch.load(path, map_location='cpu', weights_only=True),
    }


def measure(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each call, in turn (A B A B ...), after one of each that warms the cache."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            read = call()
            elapsed = time.perf_counter() - start
            del read
            if run:
                seconds[name].append(elapsed)
    return seconds


def report(path: Path, seconds: dict[str, list[float]]) -> str:
    """The best of each and their ratio, in a line."""
    ours, theirs = (min(values) for values in seconds.values())
    return (
        f'{path.name}, {path.stat().st_size / 1e6:.1f} MB, best of {len(seconds["mmcnn"])}: mmcnn {ours:.4f} s, '
        f'torch.load {theirs:.4f} s, ratio {ours / theirs:.2f}'
    )
