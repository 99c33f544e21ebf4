"""``batch_size``, ``workers`` and ``launcher``: the number of images in a step of the optimizer."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device

from mmcnn.config.model import is_classifier
from mmcnn.config.parts import loaders_of
from mmcnn.config.variables import Say
from mmcnn.console.layout import number
from mmcnn.launchers import world_size
from mmcnn.runs.options import RunOptions

#: A run of fewer optimizer steps than this does not accumulate micro-batches to the nominal batch.
MIN_STEPS = 1000
#: Annotation files of more bytes, some 20,000 images, are not read to see how many steps a run will have.
LARGE = 50_000_000
#: Arguments of a data loader that only one with worker processes takes.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout')


def set_batches(cfg: Config, options: RunOptions, num_images: int | None) -> None:
    """Set batch size, workers and accumulation.

    Configs with a ``nominal_batch_size`` give each step so many images, on all GPUs together: fewer are accumulated,
    and so many GPUs that the config's batch would be more take less each. A run that would have fewer than
    ``MIN_STEPS`` steps accumulates less: a small data set needs the steps more than it needs the smooth gradient.
    Where a config has ``scale_lr=True``, its rate is for ``nominal_batch_size`` images and follows their number; where
    its losses are sums over the images of a GPU, rate, weight decay and clipping are for ``summed_batch_size`` of them.
    """
    for loader in loaders_of(cfg).values():
        if options.batch_size is not None:
            loader.batch_size = options.batch_size
        if options.workers is not None:
            loader.num_workers = options.workers
        # More processes than cores only wait for each other.
        loader.num_workers = min(loader.get('num_workers', 0), os.cpu_count() or 1)
        loader.persistent_workers = loader.num_workers > 0
        loader.pin_memory = get_device() != 'cpu'
    world = world_size(options.launcher)
    if is_classifier(cfg) and num_images is not None:
        # BatchNorm cannot train on one value, which is what one small image leaves at stride 32.
        share, batch = -(-num_images // world), cfg.train_dataloader.batch_size
        cfg.train_dataloader.drop_last = share > batch and share % batch == 1
    nominal = cfg.get('nominal_batch_size')
    if nominal is None:
        return
    if options.batch_size is None:
        cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, max(nominal // world, 1))
    together = cfg.train_dataloader.batch_size * world
    counts = max(round(nominal / together), 1)
    if num_images is not None:
        iterations = cfg.train_cfg.max_epochs * -(-num_images // together)
        counts = max(min(counts, iterations // MIN_STEPS), 1)
    cfg.optim_wrapper.accumulative_counts = counts
    if cfg.get('scale_lr'):
        # Goyal et al., arXiv 1706.02677. The two stay true to each other, also in the config that the run records.
        cfg.optim_wrapper.optimizer.lr *= together * counts / nominal
        cfg.nominal_batch_size = together * counts
        if 'summed_batch_size' in cfg:
            # The gradients are so many times as large; decay and clipping keep their part of the step.
            larger = cfg.train_dataloader.batch_size / cfg.summed_batch_size
            cfg.optim_wrapper.optimizer.lr /= larger
            clip_grad = cfg.optim_wrapper.get('clip_grad') or {}
            for node, key in ((cfg.optim_wrapper.optimizer, 'weight_decay'), (clip_grad, 'max_norm')):
                if key in node:
                    node[key] *= larger
            cfg.summed_batch_size = cfg.train_dataloader.batch_size


def drop_of_workers(cfg: Config, typed: Collection[str], say: Say) -> None:
    """Drop what a data loader without worker processes does not take, and say what of it was typed.

    PyTorch refuses ``persistent_workers``, ``prefetch_factor`` and ``timeout`` with ``num_workers=0``.
    """
    for name, loader in loaders_of(cfg).items():
        if loader.get('num_workers'):
            continue
        dropped = {key: loader.pop(key) for key in _OF_WORKERS if loader.get(key)}
        if shown := [f'{key}={value}' for key, value in dropped.items() if f'{name}.{key}' in typed]:
            say(
                f'note: {name}: {", ".join(shown)} is for worker processes, and there are none (num_workers=0): dropped'
            )


def images_of_own_data(cfg: Config) -> int | None:
    """Training images in the COCO files that a config names itself, repetitions counted.

    Returns:
        their number; None: the data is of another kind, or a file of more than ``LARGE`` bytes, which is no small data.
    """
    try:
        return _images_in(cfg.train_dataloader.dataset)
    except (AttributeError, KeyError, OSError, TypeError, ValueError):  # the run itself will say what is wrong with it
        return None


def _images_in(dataset: dict) -> int:
    if 'datasets' in dataset:
        return sum(map(_images_in, dataset['datasets']))
    if 'dataset' in dataset:
        return _images_in(dataset['dataset']) * dataset.get('times', 1)
    path = Path(dataset.get('data_root') or '', dataset['ann_file'])
    if path.stat().st_size > LARGE:
        raise ValueError(path)
    return len(json.loads(path.read_bytes())['images'])


def describe_batches(cfg: Config, launcher: str) -> str:
    """Return a line for the log: how many images an iteration and a step of the optimizer see, on all GPUs together."""
    together = cfg.train_dataloader.batch_size * world_size(launcher)
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    line = f'{number(together * counts, "image")} a step'
    if counts > 1:
        line = f'{number(together, "image")} an iteration, {counts} iterations a step: {line}'
    if cfg.get('scale_lr'):
        return f'{line}, learning rate {cfg.optim_wrapper.optimizer.lr:.3g}'
    nominal = cfg.get('nominal_batch_size')
    if nominal is not None and together * counts != nominal:
        times = nominal / together / counts
        line += f' (made for {number(nominal, "image")} a step: it takes {times:.2g} times as many steps here)'
    return line
