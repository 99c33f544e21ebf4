"""Checks that every ``type`` in a config exists and accepts its arguments, before anything is built or written."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook, EMAHook, LoggerHook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISUALIZERS,
    DefaultScope,
    Registry,
)
from mmengine.runner import Runner
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from mmcnn.compat import late_imports
from mmcnn.config.model import refusals
from mmcnn.config.parts import argument_names, metrics_of, takes
from mmcnn.config.paths import entry
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Path of an entry, the entry, and the registry in which MMEngine's Runner looks up its type.
Entry = tuple[str, Any, Registry]

_DATASETS = [f'{part}_dataloader.dataset{inner}' for part in ('train', 'val', 'test') for inner in ('', '.dataset')]
#: Entries of a config that must be dicts, and whether a list of dicts is allowed, too.
_PLACES = {
    **dict.fromkeys(('model', 'model.backbone', 'train_cfg', 'optim_wrapper', 'optim_wrapper.optimizer'), False),
    **dict.fromkeys(('env_cfg', 'default_hooks', 'train_dataloader', 'val_dataloader', 'test_dataloader'), False),
    **dict.fromkeys(_DATASETS, False),
    **dict.fromkeys([f'{dataset}.pipeline' for dataset in _DATASETS], True),
    **dict.fromkeys(('model.neck', 'model.bbox_head', 'model.rpn_head', 'model.roi_head'), True),
    **dict.fromkeys(('custom_hooks', 'param_scheduler', 'val_evaluator', 'test_evaluator'), True),
}

_COUNT, _AMOUNT = ((int,), (1,), 'an integer of at least 1'), ((int,), (0,), 'an integer of at least 0')
_TEXT, _YES = ((str,), (), 'a string'), ((bool,), (), 'True or False')
#: Entries with single values: their types, minimum and description.
_VALUES = {
    **dict.fromkeys(('default_scope', 'log_level', 'experiment_name'), _TEXT),
    **dict.fromkeys(('work_dir', 'load_from'), ((str, os.PathLike), (), 'a path')),
    'resume': _YES,
    **dict.fromkeys([f'{part}_dataloader.batch_size' for part in ('train', 'val', 'test')], _COUNT),
    **dict.fromkeys([f'{part}_dataloader.num_workers' for part in ('train', 'val', 'test')], _AMOUNT),
    **dict.fromkeys(('train_cfg.max_epochs', 'train_cfg.max_iters', 'train_cfg.val_interval'), _COUNT),
    **dict.fromkeys(('optim_wrapper.accumulative_counts', 'nominal_batch_size', 'summed_batch_size'), _COUNT),
    'optim_wrapper.optimizer.lr': ((int, float), (0,), 'a number of at least 0'),
}
#: Keys that are not arguments of the class in ``type``.
_ASIDE = {'type', '_scope_'}
#: Keys that MMEngine removes from or adds to the dicts of hooks, schedules and data loaders.
_ASIDE_OF = {
    'hook': {'priority'},
    'parameter scheduler': {'convert_to_iter_based'},
    'loop': {'by_epoch'},
    'optim_wrapper': {'constructor', 'paramwise_cfg'},
    'data loader': {'num_batch_per_epoch'},
}


def check_entries(cfg: Config, training: bool) -> None:
    """Refuse a config that lacks an entry that a run needs, or has something other than a dict in its place.

    A training may have no validation or no test: then all three entries of it are None.

    Args:
        cfg: with the user's options.
        training: whether the model is trained, not only tested.

    Raises:
        UsageError: names the entry.
    """
    needed = ['train_dataloader', 'train_cfg', 'optim_wrapper'] if training else ['test_dataloader', 'test_evaluator']
    for name in ['model', *needed]:
        if cfg.get(name) is None:
            raise UsageError(f"the config {cfg.filename or ''} has no '{name}'".replace('  ', ' '))
    for part in ('val', 'test'):
        names = [f'{part}_{end}' for end in ('cfg', 'dataloader', 'evaluator')]
        none = [name for name in names if cfg.get(name) is None]
        if 0 < len(none) < len(names):
            there = ' and '.join(name for name in names if name not in none)
            raise UsageError(
                f'{" and ".join(none)} {"is" if len(none) == 1 else "are"} None or missing, but not {there}: MMEngine '
                f'needs either all three of {", ".join(names)} or none of them'
            )
    check_structure(cfg)


def check_structure(cfg: Config) -> None:
    """Refuse a config with a number, a string or a list in the place of a dict, or of a list of dicts.

    Objects that are already built are accepted, as the Runner does.

    Raises:
        UsageError: names the entry and its value.
    """
    for path, may_be_list in _PLACES.items():
        node = entry(cfg, path)
        if isinstance(node, str | int | float) or (isinstance(node, list | tuple) and not may_be_list):
            raise UsageError(f'{path}={node!r}: it must be a dict{" or a list of dicts" if may_be_list else ""}')
    for path, (kinds, minimum, words) in _VALUES.items():
        value = entry(cfg, path)
        is_bool = isinstance(value, bool) and bool not in kinds  # bool is a subclass of int
        if value is not None and (is_bool or not isinstance(value, kinds) or (minimum and not value >= minimum[0])):
            raise UsageError(f'{path}={value!r}: it must be {words}')


def check_types(cfg: Config, training: bool = True) -> None:
    """Look up all that MMEngine's Runner will: hooks, optimizer, schedule, loop, data sets, transforms and metrics.

    The model has already been built on the meta device (:func:`~mmcnn.config.model.wire_model`). Nested entries of a
    user's own class are not checked.

    Args:
        cfg: the complete config.
        training: whether the model is trained, not only tested.

    Raises:
        UsageError: names the entry and similar names, or has the message of a logger's hook about its arguments.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for where, node, registry in _entries(cfg, training):
            _check_arguments(where, node, _takes(_found(where, node, registry), node), registry.name)
        _check_reports('val_evaluator' if training else 'test_evaluator', cfg)
        for part in ('train', 'val') if training else ('test',):
            _check_arguments(f'{part}_dataloader', cfg.get(f'{part}_dataloader'), takes(DataLoader), 'data loader')


def _entries(cfg: Config, training: bool) -> Iterator[Entry]:
    hooks = [(f'default_hooks.{name}', node) for name, node in (cfg.get('default_hooks') or {}).items()]
    hooks += _numbered('custom_hooks', cfg.get('custom_hooks'))
    for where, node in hooks:
        yield where, node, HOOKS
        _check_logger(where, node)
    if training:
        yield from _optimization(cfg)
    for name, registry in (('visualizer', VISUALIZERS), ('log_processor', LOG_PROCESSORS)):
        if 'type' in (cfg.get(name) or {}):
            yield name, cfg[name], registry
    for part in ('train', 'val') if training else ('test',):
        loader = cfg.get(f'{part}_dataloader') or {}
        yield from _dataset(f'{part}_dataloader.dataset', loader.get('dataset'))
        if 'type' in (loader.get('sampler') or {}):
            yield f'{part}_dataloader.sampler', loader['sampler'], DATA_SAMPLERS
        if 'type' in (cfg.get(f'{part}_cfg') or {}):
            yield f'{part}_cfg', cfg[f'{part}_cfg'], LOOPS
    yield from _evaluator('val_evaluator' if training else 'test_evaluator', cfg)


def _optimization(cfg: Config) -> Iterator[Entry]:
    for name, node in _numbered('param_scheduler', cfg.get('param_scheduler')):
        yield name, node, PARAM_SCHEDULERS
    wrapper = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict):
        return
    constructor = dict(type=wrapper.get('constructor', 'DefaultOptimWrapperConstructor'))
    kind = _found('optim_wrapper.constructor', constructor, OPTIM_WRAPPER_CONSTRUCTORS)
    if not (isinstance(kind, type) and issubclass(kind, DefaultOptimWrapperConstructor)):
        return
    if 'type' in wrapper:
        yield 'optim_wrapper', wrapper, OPTIM_WRAPPERS
    yield 'optim_wrapper.optimizer', wrapper.get('optimizer'), OPTIMIZERS
    clip_grad = wrapper.get('clip_grad') or {}
    if clip_grad.get('type', 'norm') == 'norm':
        known = {*inspect.signature(clip_grad_norm_).parameters} - {'parameters'}
        _check_arguments('optim_wrapper.clip_grad', clip_grad, known, 'clipping by the norm')


def _dataset(where: str, node: Any) -> Iterator[Entry]:
    if not isinstance(node, dict):
        return
    yield where, node, DATASETS
    yield from _dataset(f'{where}.dataset', node.get('dataset'))
    for name, inner in _numbered(f'{where}.datasets', node.get('datasets')):
        yield from _dataset(name, inner)
    kind = _found(where, node, DATASETS)
    module = getattr(kind, '__module__', '')
    if module.startswith(('mmcnn.', 'mmdet.')) or (isinstance(kind, type) and issubclass(kind, BaseDataset)):
        for name, step in _numbered(f'{where}.pipeline', node.get('pipeline')):
            yield name, step, TRANSFORMS


def _evaluator(where: str, cfg: Config) -> Iterator[Entry]:
    node = cfg.get(where)
    if isinstance(node, dict) and 'metrics' in node and 'type' in node:
        yield where, node, EVALUATOR
    yield from ((name, metric, METRICS) for name, metric in metrics_of(cfg, where))


def _check_reports(where: str, cfg: Config) -> None:
    """Refuse two COCO metrics that report the same numbers, which MMEngine finds only after the first validation."""
    seen: dict[tuple[str, str], str] = {}
    for name, node in metrics_of(cfg, where):
        kind = _found(name, node, METRICS)
        if not (isinstance(kind, type) and issubclass(kind, CocoMetric)):
            continue
        metrics = node.get('metric', 'bbox')
        for metric in [metrics] if isinstance(metrics, str) else metrics:
            number = (node.get('prefix') or kind.default_prefix, metric)
            if number in seen:
                raise UsageError(
                    f'{seen[number]} and {name} both report {"/".join(number)}: give one of them a prefix, such as '
                    "prefix='second'"
                )
            seen[number] = name


def _numbered(where: str, nodes: Any) -> list[tuple[str, Any]]:
    if isinstance(nodes, dict):
        return [(where, nodes)]
    if not isinstance(nodes, Sequence) or isinstance(nodes, str):
        return []
    return [(f'{where}.{number}', node) for number, node in enumerate(nodes)]


def _found(where: str, node: Any, registry: Registry) -> Any:
    """Return the object that an entry's type names; None if the entry is not a dict, because it is already built."""
    if not isinstance(node, dict):
        return None
    if 'type' not in node:
        raise UsageError(f'{where} has no type: {dict(node)}')
    name = node['type']
    if not isinstance(name, str):
        return name
    with registry.switch_scope_and_registry(node.get('_scope_')) as scoped:
        try:
            found = scoped.get(name)
        except KeyError as error:  # raised by one of our own registries
            raise UsageError(f'{where}.type={name}: {error.args[0]}') from error
        if found is None:
            raise UsageError(f'{where}.type={name}: no {registry.name} has this name; {nearest(name, _names(scoped))}')
    return found


def _takes(kind: Any, node: Any) -> set[str] | None:
    """Return the names of the arguments of a type; two of MMEngine's hooks pass theirs on to other classes."""
    if isinstance(kind, type) and issubclass(kind, CheckpointHook):
        return argument_names(kind) | {*inspect.signature(Runner.save_checkpoint).parameters}
    if isinstance(kind, type) and issubclass(kind, EMAHook):
        average = node.get('ema_type') or 'mmdet.ExpMomentumEMA'  # it takes MMEngine's arguments, and more
        average = MODELS.get(average) if isinstance(average, str) else average
        return argument_names(kind) | argument_names(average) if isinstance(average, type) else None
    return takes(kind)


def _check_arguments(where: str, node: Any, known: set[str] | None, kind: str) -> None:
    """Refuse arguments that a class does not take; None: its arguments are unknown."""
    if not isinstance(node, dict) or known is None:
        return
    known = known | _ASIDE_OF.get(kind, set())
    for name in node:
        if name not in known | _ASIDE:
            what = f'{node["type"]} takes' if 'type' in node else f'a {kind} takes'
            raise UsageError(f"{where}: {what} no argument '{name}'; {nearest(name, known)}")


def _names(registry: Registry | None) -> set[str]:
    """Return the names in a registry and its parents."""
    late_imports.load_all()
    return {*registry.module_dict, *_names(registry.parent)} if registry is not None else set()


def _check_logger(where: str, node: Any) -> None:
    """Build a LoggerHook, which is cheap and has no side effects, to check its interval."""
    if isinstance(node, dict) and _found(where, node, HOOKS) is LoggerHook:
        arguments = {key: value for key, value in node.items() if key not in ('type', 'priority', '_scope_')}
        with refusals(where):
            LoggerHook(**arguments)
