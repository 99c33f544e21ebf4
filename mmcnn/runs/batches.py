"""``batch_size``, ``workers`` and ``launcher``: the number of images in an optimizer step."""

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

#: A run with fewer optimizer steps does not accumulate micro-batches to the nominal batch.
MIN_STEPS = 1000
#: Annotation files with more bytes, some 20,000 images, are not read to compute the number of steps.
LARGE = 50_000_000
#: Arguments of a data loader that require worker processes.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout')


def set_batches(cfg: Config, options: RunOptions, num_images: int | None) -> None:
    """Set batch size, workers and accumulation.

    Configs with a ``nominal_batch_size`` use this number of images in each step, over all GPUs: smaller batches are
    accumulated, and if there are so many GPUs that the config's batch size would exceed it, each GPU gets fewer images.
    A run that would have fewer than ``MIN_STEPS`` steps accumulates less: with a small data set, the number of steps
    matters more than smooth gradients. If a config has ``scale_lr=True``, its learning rate is for
    ``nominal_batch_size`` images and is scaled with their number; if its losses are sums over the images of a GPU,
    learning rate, weight decay and clipping are for ``summed_batch_size`` images.
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
        # BatchNorm cannot train on a single value, which is all that a small image leaves at stride 32.
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
        # Goyal et al., arXiv 1706.02677. The recorded config stays consistent: its rate and batch size still match.
        cfg.optim_wrapper.optimizer.lr *= together * counts / nominal
        cfg.nominal_batch_size = together * counts
        if 'summed_batch_size' in cfg:
            # The gradients are scaled by this factor; decay and clipping keep their share of the step.
            larger = cfg.train_dataloader.batch_size / cfg.summed_batch_size
            cfg.optim_wrapper.optimizer.lr /= larger
            clip_grad = cfg.optim_wrapper.get('clip_grad') or {}
            for node, key in ((cfg.optim_wrapper.optimizer, 'weight_decay'), (clip_grad, 'max_norm')):
                if key in node:
                    node[key] *= larger
            cfg.summed_batch_size = cfg.train_dataloader.batch_size


def drop_of_workers(cfg: Config, typed: Collection[str], say: Say) -> None:
    """Drop the arguments of a data loader that need worker processes if there are none, and report the user's.

    PyTorch refuses ``persistent_workers``, ``prefetch_factor`` and ``timeout`` with ``num_workers=0``.
    """
    for name, loader in loaders_of(cfg).items():
        if loader.get('num_workers'):
            continue
        dropped = {key: loader.pop(key) for key in _OF_WORKERS if loader.get(key)}
        if shown := [f'{key}={value}' for key, value in dropped.items() if f'{name}.{key}' in typed]:
            say(f'note: {name}: {", ".join(shown)} needs worker processes, but num_workers=0: dropped')


def images_of_own_data(cfg: Config) -> int | None:
    """Return the number of training images in the COCO files that a config names itself, including repetitions.

    Returns:
        the number; None: the data has another format, or a file has more than ``LARGE`` bytes, which is not a small
        data set.
    """
    try:
        return _images_in(cfg.train_dataloader.dataset)
    except (AttributeError, KeyError, OSError, TypeError, ValueError):  # the run itself will report the error
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
    """Return a line for the log with the number of images per iteration and per optimizer step, over all GPUs."""
    together = cfg.train_dataloader.batch_size * world_size(launcher)
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    line = f'{number(together * counts, "image")} per step'
    if counts > 1:
        line = f'{number(together, "image")} per iteration, {counts} iterations per step: {line}'
    if cfg.get('scale_lr'):
        return f'{line}, learning rate {cfg.optim_wrapper.optimizer.lr:.3g}'
    nominal = cfg.get('nominal_batch_size')
    if nominal is not None and together * counts != nominal:
        times = nominal / together / counts
        line += (
            f' (the config is for {number(nominal, "image")} per step: this run has {times:.2g} times as many steps)'
        )
    return line
