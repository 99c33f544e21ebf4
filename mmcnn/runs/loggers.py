"""``loggers``: services that get a run's metrics in addition to its own files, and whether they are installed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import VISBACKENDS, DefaultScope

from mmcnn.config.load import Say
from mmcnn.errors import DependencyError, UsageError
from mmcnn.nearest import nearest

#: The backend of our own files, which is always kept.
LOCAL = 'LocalVisBackend'
#: Backends by their names without a scope, and the packages to install for them.
PACKAGES = {
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
    'TrackioVisBackend': 'trackio',
    'ClearMLVisBackend': 'clearml',
    'NeptuneVisBackend': 'neptune',
    'DVCLiveVisBackend': 'dvclive',
    'AimVisBackend': 'aim',
}


def set_loggers(cfg: Config, loggers: Sequence[str] | None) -> None:
    """Use exactly these loggers in addition to the backend of our own files.

    A config's existing entry for one of them is kept. New ones get a project 'mmcnn', unless the logger's own
    environment variable names one, and the name of the work dir.

    Args:
        cfg: with its work dir; its ``visualizer`` is changed.
        loggers: of :data:`~mmcnn.runs.options.LOGGERS`; ('none',): no loggers; None: the config's own.
    """
    if loggers is None:
        return
    visualizer = cfg.get('visualizer')
    if not isinstance(visualizer, dict):
        visualizer = dict(type='Visualizer')
    there = visualizer.get('vis_backends') or []
    known = {_name(node): node for node in ([there] if isinstance(there, dict) else there) if isinstance(node, dict)}
    kept = [known[LOCAL]] if LOCAL in known else []
    new = [_entry(logger, Path(cfg.work_dir).name) for logger in loggers if logger != 'none']
    cfg.visualizer = dict(visualizer) | dict(vis_backends=[*kept, *(known.get(_name(node), node) for node in new)])


def check_backends(cfg: Config, training: bool, say: Say = print) -> None:
    """Refuse a training with a backend that is not installed, before the training needs it.

    An evaluation continues without it, because a checkpoint's config may name backends of another machine.

    Args:
        cfg: complete; for an evaluation, missing backends are removed from its ``visualizer``.
        training: whether the run is a training.
        say: called with a sentence about each removed backend.

    Raises:
        UsageError: there is no backend with this name.
        DependencyError: its package is missing or broken; the message has the command that installs it.
    """
    visualizer = cfg.get('visualizer')
    nodes = visualizer.get('vis_backends') if isinstance(visualizer, dict) else None
    if isinstance(nodes, dict):
        nodes = [nodes]
    kept: list[Any] = []
    for number, node in enumerate(nodes or []):
        try:
            if isinstance(node, dict):
                _check_backend(f'visualizer.vis_backends.{number}', node, cfg.get('default_scope', 'mmengine'))
        except DependencyError as error:
            if training:
                raise
            say(f'note: {error}; the evaluation continues without it')
        else:
            kept.append(node)
    if nodes and len(kept) < len(nodes):
        visualizer.vis_backends = kept


def _check_backend(where: str, node: dict, scope: str) -> None:
    kind = node.get('type')
    if not isinstance(kind, str):
        return  # a class, which is already imported
    with DefaultScope.overwrite_default_scope(scope), VISBACKENDS.switch_scope_and_registry(None) as registry:
        try:
            found = registry.get(kind)
        except KeyError as error:
            raise UsageError(f'{where}.type={kind}: {error.args[0]}') from error
        if found is None:
            names = {*registry.module_dict, *VISBACKENDS.module_dict}
            raise UsageError(f'{where}.type={kind}: no visualizer backend has this name; {nearest(kind, names)}')
    package = PACKAGES.get(_name(node))
    if package is None:
        return
    try:
        importlib.import_module(package)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        reason = 'which is not installed' if missing else f'which cannot be imported ({error})'
        raise DependencyError(
            f'{where}: {_name(node)} needs the package {package}, {reason}: pip install {package}, or choose another '
            'logger'
        ) from error


def _name(node: dict) -> str:
    """Return the type of a backend without its scope."""
    kind = node.get('type')
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _entry(logger: str, run: str) -> dict[str, Any]:
    """Return a backend for the runs of this name."""

    def project(variable: str) -> dict[str, str]:
        return {} if variable in os.environ else dict(project='mmcnn')

    return {
        'tensorboard': dict(type='TensorboardVisBackend'),
        'wandb': dict(type='WandbVisBackend', init_kwargs=dict(**project('WANDB_PROJECT'), name=run)),
        'mlflow': dict(
            type='mmcnn.MLflowVisBackend', exp_name=os.environ.get('MLFLOW_EXPERIMENT_NAME', 'mmcnn'), run_name=run
        ),
        'trackio': dict(type='mmcnn.TrackioVisBackend', init_kwargs=dict(project='mmcnn', name=run)),
    }[logger]
