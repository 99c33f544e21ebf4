"""A test, before the first step, of everything that a training uses at its first validation."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS, DefaultScope
from mmengine.runner import Runner

from mmcnn.config.model import refusals
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest
from mmcnn.runs.results import NAMES


def check_watching_hooks(cfg: Config) -> None:
    """Build the hooks that compare metrics of validations, which is cheap, to check their arguments.

    Raises:
        UsageError: names the entry.
    """
    nodes = [(f'default_hooks.{name}', node) for name, node in (cfg.get('default_hooks') or {}).items()]
    nodes += [(f'custom_hooks.{number}', node) for number, node in enumerate(cfg.get('custom_hooks') or [])]
    for where, node in nodes:
        if not isinstance(node, dict):
            continue
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
            kind = HOOKS.get(node['type']) if isinstance(node.get('type'), str) else node.get('type')
        if isinstance(kind, type) and issubclass(kind, CheckpointHook | EarlyStoppingHook):
            with refusals(where):
                kind(**{key: value for key, value in node.items() if key not in ('type', 'priority', '_scope_')})


class FirstUseHook(Hook):
    """Rejects a training that monitors a metric that its validations do not produce.

    These are metrics that select the best checkpoint, or that early stopping and learning rate schedules monitor.

    Raises:
        UsageError: before training; names the entry, its value and similar metrics.
    """

    priority = 'HIGHEST'  # before anything is written

    def before_train(self, runner: Runner) -> None:
        """Check the monitored metrics."""
        if runner.val_loop is None:
            return
        metrics = runner.val_evaluator.metrics
        names, all_known = _names(metrics)
        prefixes = [metric.prefix for metric in metrics]
        if not names and all_known:  # they only write files
            return
        for where, name in _watched(runner):
            if name in names or name == 'auto':
                continue
            if all_known or (all(prefixes) and not name.startswith(tuple(f'{prefix}/' for prefix in prefixes))):
                raise UsageError(f'{where}={name}: no validation has this metric; {_meant(name, names, prefixes)}')


def _watched(runner: Runner) -> Iterator[tuple[str, str]]:
    """Yield the entry that names a metric of the validations, and the metric's name."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best is not None:
            for name in hook.key_indicators:
                yield 'save_best', name
        elif isinstance(hook, EarlyStoppingHook):
            yield f'{type(hook).__name__}.monitor', hook.monitor
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [each for group in schedulers.values() for each in group]
    for scheduler in schedulers:
        if getattr(scheduler, 'need_val_args', False):
            yield f'{type(scheduler).__name__}.monitor', scheduler.monitor


def _meant(name: str, names: Sequence[str], prefixes: Sequence[Any]) -> str:
    longer = sorted((each for each in names if each.endswith(name)), key=len)
    longer = [NAMES[name]] if NAMES.get(name) in names else longer
    if longer:
        return f'did you mean {longer[0]}?'
    if names:
        return nearest(name, names)
    return 'the name must begin with ' + ' or '.join(f'{prefix}/' for prefix in prefixes)


def _names(metrics: Sequence[BaseMetric]) -> tuple[list[str], bool]:
    """Return the names of the metrics, found by evaluating empty results, and whether these are all.

    Only metrics that provide such results (``stand_in_results``) are evaluated; others may compute for minutes, or
    fail.
    """
    names: list[str] = []
    all_known = True
    for metric in metrics:
        if not hasattr(metric, 'stand_in_results'):
            all_known = False
            continue
        with _quiet():
            trial = copy.copy(metric)  # the metric must not remember this evaluation
            found = trial.compute_metrics(trial.stand_in_results())
        names += [f'{metric.prefix}/{name}' if metric.prefix else name for name in found]
    return names, all_known


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the evaluation of empty results out of the log."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger = MMLogger.get_current_instance()
    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)
