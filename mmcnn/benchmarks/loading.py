"""Seconds for opening a checkpoint, compared with a bare ``torch.load(weights_only=True)`` of the same file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import DefaultScope

from mmcnn.benchmarks.comparison import Comparison, Say, Side, compare
from mmcnn.benchmarks.options import LoadingOptions
from mmcnn.benchmarks.wired import wired_config
from mmcnn.interleaved import wall_seconds
from mmcnn.silence import silenced
from mmcnn.weights.checkpoint import Checkpoint

#: Number of iterations whose losses are in the message hub of the written checkpoint.
ITERATIONS = 1000


def write_checkpoint(cfg: Config, path: Path) -> None:
    """Write a checkpoint as a training leaves it: weights, their averages, momentum, losses and the config.

    Args:
        cfg: a complete config; the model's values are random.
        path: path of the file.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    with silenced():  # MMEngine logs each tensor
        model.init_weights()  # as at the start of a training: few boxes have high scores
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
    """Return the measured sides by name: both read the weights of a file, neither computes its SHA-256."""
    return {
        'mmcnn': lambda: Checkpoint.open(path).state_dict,
        'torch.load': lambda: torch.load(path, map_location='cpu', weights_only=True),
    }


def measure(options: LoadingOptions, say: Say) -> list[Comparison]:
    """Measure the seconds of both, after one call of each that warms the cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.checkpoint or f'{folder}/{options.config}.pth')
        if options.checkpoint is None:
            write_checkpoint(wired_config(options), path)
        say(f'{path.name}, {path.stat().st_size / 1e6:.1f} MB')
        return [
            compare(
                path.name,
                [Side(name, wall_seconds(call), name != 'mmcnn') for name, call in sides(path).items()],
                options.runs,
            )
        ]
