"""The report of a run about itself before its first step: only settings that are in effect."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmcnn.console.layout import number, shortened
from mmcnn.engine import BFloat16OptimWrapper
from mmcnn.inference.precision import name_of
from mmcnn.models.costs import count_parameters
from mmcnn.runs.history_hook import counts_epochs
from mmcnn.runs.precision import is_channels_last

#: Number of class names to show.
_SHOWN = 6


def training_rows(runner: Runner, weights: str = '', summary: str = '') -> list[tuple[str, str]]:
    """Return labelled rows of a training.

    Args:
        runner: ready for the first step.
        weights: origin of the weights, if it was a file.
        summary: a phrase about the number of images per iteration and step.
    """
    loader, val_loader = runner.train_dataloader, runner.val_dataloader if runner.val_loop is not None else None
    images = f'{len(loader.dataset):,} training images'
    images += ', no validation' if val_loader is None else f', {len(val_loader.dataset):,} validation images'
    device = _device(runner)
    device += ''.join(f', {each}' for each in _speed(runner))
    rows = [
        ('model', f'{_model(runner)}, {count_parameters(unwrapped(runner.model))[1]:,} of them trainable'),
        ('data', data_row(loader.dataset, images)),
        ('device', device),
        ('steps', f'{_length(runner)}{summary and f"; {summary}"}'),
    ]
    return [*rows, *([('weights', weights)] if weights else []), _log(runner)]


def evaluation_rows(runner: Runner, weights: str, dtype: torch.dtype | None = None) -> list[tuple[str, str]]:
    """Return labelled rows of an evaluation, which must be called before BatchNorm is folded.

    Args:
        runner: ready for the first image.
        weights: origin of the weights.
        dtype: type of mixed precision; None: float32.
    """
    dataset = runner.test_dataloader.dataset
    return [
        ('model', _model(runner)),
        ('weights', weights),
        ('data', data_row(dataset, f'{len(dataset):,} test images')),
        ('device', f'{_device(runner)}{"" if dtype is None else f", mixed precision ({name_of(dtype)})"}'),
        _log(runner),
    ]


def shown_path(path: str | os.PathLike) -> str:
    """Return a path as a user would type it here: relative if it is below the current folder."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a model without the wrapper of a distributed run."""
    return model.module if is_model_wrapper(model) else model


def file_datasets(dataset: Dataset) -> list[Dataset]:
    """Return the data sets that read files, inside their wrappers; MMEngine's ConcatDataset has several."""
    inside = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    return [found for each in inside if each is not None for found in file_datasets(each)] or [dataset]


def _model(runner: Runner) -> str:
    cfg = runner.cfg
    name = Path(cfg.filename).stem if cfg.filename else unwrapped(runner.model).__class__.__name__
    return f'{name}{_backbone(cfg)}, {count_parameters(unwrapped(runner.model))[0]:,} parameters'


def _backbone(cfg: Config) -> str:
    backbone = cfg.model.get('backbone', {})
    name = backbone.get('variant') or str(backbone.get('type', '')).removeprefix('mmcnn.')
    source = (backbone.get('init_cfg') or {}).get('checkpoint')
    return (f', backbone {name}' if name else '') + (f' with weights of {source}' if source else '')


def data_row(dataset: Dataset, images: str) -> str:
    """Return a line about a data set: its folders, number of images (as a phrase) and classes."""
    classes = dataset.metainfo.get('classes', ())
    classes = (classes,) if isinstance(classes, str) else classes
    more = ', ...' if len(classes) > _SHOWN else ''
    roots = dict.fromkeys(shown_path(getattr(each, 'data_root', '') or '.') for each in file_datasets(dataset))
    names = ', '.join(map(shortened, classes[:_SHOWN]))
    return f'{", ".join(roots)}: {images}; {len(classes)} classes ({names}{more})'


def _length(runner: Runner) -> str:
    """Return the length of a training in epochs or iterations."""
    if not counts_epochs(runner):
        return number(runner.max_iters, 'iteration')
    return f'{number(runner.max_epochs, "epoch")} x {number(len(runner.train_dataloader), "iteration")}'


def _device(runner: Runner) -> str:
    device = next(runner.model.parameters()).device
    name = f'{device} ({torch.cuda.get_device_name(device)})' if device.type == 'cuda' else str(device)
    return f'{name}, {get_world_size()} processes' if get_world_size() > 1 else name


def _speed(runner: Runner) -> list[str]:
    """Return the settings of mixed precision and ``performance`` that are in effect."""
    performance, wrapper = runner.cfg.get('performance') or {}, runner.optim_wrapper
    found = []
    if isinstance(wrapper, AmpOptimWrapper | BFloat16OptimWrapper):
        too = ', validation too' if performance.get('val_amp') else ''
        found.append(f'mixed precision ({name_of(wrapper.cast_dtype)}{too})')
    found += ['channels last'] if is_channels_last(runner.cfg) else []
    return found + (['compiled'] if performance.get('compile') else [])


def _log(runner: Runner) -> tuple[str, str]:
    return 'log', shown_path(runner.logger.log_file)
