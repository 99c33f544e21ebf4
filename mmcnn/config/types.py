"""Whether every ``type`` in a config names something, before anything is built or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import LoggerHook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import (
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOOPS,
    METRICS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    DefaultScope,
    Registry,
)

from mmcnn.config.model import refusals
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Where an entry stands, the entry, and the registry that MMEngine's Runner looks its type up in.
Entry = tuple[str, Any, Registry]

_DATASETS = [f'{part}_dataloader.dataset{inner}' for part in ('train', 'val', 'test') for inner in ('', '.dataset')]
#: Where dicts stand in a config, and whether a list of them may, too.
_PLACES = {
    **dict.fromkeys(('model', 'model.backbone', 'train_cfg', 'optim_wrapper', 'optim_wrapper.optimizer'), False),
    **dict.fromkeys(('env_cfg', 'default_hooks', 'train_dataloader', 'val_dataloader', 'test_dataloader'), False),
    **dict.fromkeys(_DATASETS, False),
    **dict.fromkeys([f'{dataset}.pipeline' for dataset in _DATASETS], True),
    **dict.fromkeys(('model.neck', 'model.bbox_head', 'model.rpn_head', 'model.roi_head'), True),
    **dict.fromkeys(('custom_hooks', 'param_scheduler', 'val_evaluator', 'test_evaluator'), True),
}


def check_entries(cfg: Config, training: bool) -> None:
    """Refuses a config that lacks what every run needs, or has something else than a dict in its place.

    Args:
        cfg: as it was loaded, or later.
        training: whether it is to be trained, not only tested.

    Raises:
        UsageError: names the entry.
    """
    needed = ['model', 'val_dataloader', 'val_evaluator', 'test_dataloader', 'test_evaluator', 'train_dataloader']
    needed += ['train_cfg', 'optim_wrapper'] if training else []
    for name in needed:
        if cfg.get(name) is None:
            raise UsageError(f"the config {cfg.filename or ''} has no '{name}'".replace('  ', ' '))
    check_structure(cfg)


def check_structure(cfg: Config) -> None:
    """Refuses a config where a number, a string or a list stands in the place of a dict, or of a list of dicts.

    Objects that have been built already are left alone, as the Runner takes them, too.

    Raises:
        UsageError: names the entry and its value.
    """
    for path, may_be_list in _PLACES.items():
        node: Any = cfg
        for key in path.split('.'):
            node = node.get(key) if isinstance(node, dict | Config) else None
        if isinstance(node, str | int | float) or (isinstance(node, list | tuple) and not may_be_list):
            raise UsageError(f'{path}={node!r}: it has to be a dict{" or a list of dicts" if may_be_list else ""}')


def check_types(cfg: Config, training: bool = True) -> None:
    """Looks up what MMEngine's Runner will: hooks, optimizer, schedule, loop, data sets, their transforms and metrics.

    The model has been built on the meta device by then (:func:`~mmcnn.config.model.wire_model`). What a class of the
    user's does with entries of its own is not looked into.

    Args:
        cfg: complete.
        training: whether it is to be trained, not only tested.

    Raises:
        UsageError: names the entry and the nearest names, or what a logger's hook says of its arguments.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for where, node, registry in _entries(cfg, training):
            _found(where, node, registry)


def _entries(cfg: Config, training: bool) -> Iterator[Entry]:
    hooks = [(f'default_hooks.{name}', node) for name, node in (cfg.get('default_hooks') or {}).items()]
    hooks += _numbered('custom_hooks', cfg.get('custom_hooks'))
    for where, node in hooks:
        yield where, node, HOOKS
        _check_logger(where, node)
    if training:
        yield from _optimization(cfg)
    for part in ('train', 'val') if training else ('test',):
        yield from _dataset(f'{part}_dataloader.dataset', (cfg.get(f'{part}_dataloader') or {}).get('dataset'))
    yield from _evaluator('val_evaluator' if training else 'test_evaluator', cfg)


def _optimization(cfg: Config) -> Iterator[Entry]:
    for name, node in _numbered('param_scheduler', cfg.get('param_scheduler')):
        yield name, node, PARAM_SCHEDULERS
    if 'type' in (cfg.get('train_cfg') or {}):
        yield 'train_cfg', cfg.train_cfg, LOOPS
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
    if isinstance(node, dict) and 'metrics' in node:
        if 'type' in node:
            yield where, node, EVALUATOR
        where, node = f'{where}.metrics', node.metrics
    for name, metric in [(where, node)] if isinstance(node, dict) else _numbered(where, node):
        yield name, metric, METRICS


def _numbered(where: str, nodes: Any) -> list[tuple[str, Any]]:
    if isinstance(nodes, dict):
        return [(where, nodes)]
    if not isinstance(nodes, Sequence) or isinstance(nodes, str):
        return []
    return [(f'{where}.{number}', node) for number, node in enumerate(nodes)]


def _found(where: str, node: Any, registry: Registry) -> Any:
    """What an entry's type stands for; None: the entry is no dict, so it has been built already."""
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
        except KeyError as error:  # one of our own registries
            raise UsageError(f'{where}.type={name}: {error.args[0]}') from error
        if found is None:
            raise UsageError(f'{where}.type={name}: no {registry.name} has this name; {nearest(name, _names(scoped))}')
    return found


def _names(registry: Registry | None) -> set[str]:
    """What a registry holds, with those above it."""
    return {*registry.module_dict, *_names(registry.parent)} if registry is not None else set()


def _check_logger(where: str, node: Any) -> None:
    """Builds a LoggerHook, which costs nothing and leaves nothing, for what it says of its interval."""
    if isinstance(node, dict) and _found(where, node, HOOKS) is LoggerHook:
        arguments = {key: value for key, value in node.items() if key not in ('type', 'priority', '_scope_')}
        with refusals(where):
            LoggerHook(**arguments)
