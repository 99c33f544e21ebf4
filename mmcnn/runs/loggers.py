"""``loggers``: where the numbers of a run are sent besides its own files, and whether that is possible here."""

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

#: What writes our own files; it stays whatever is named.
LOCAL = 'LocalVisBackend'
#: Back ends by their names without a scope, and what to install for them.
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
    """Put these loggers, and no other, beside what writes our own files.

    An entry that the config has for one of them stays as it is. New ones get a project 'mmcnn', unless the logger's own
    variable of the environment names one, and the name of the work dir.

    Args:
        cfg: with its work dir; its ``visualizer`` is changed.
        loggers: of :data:`~mmcnn.runs.options.LOGGERS`; ('none',): none; None: the config's own.
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
    """Refuse a training with a back end that is not installed, before the training needs it.

    An evaluation goes on without one: the config of a checkpoint names what the training had, on another machine maybe.

    Args:
        cfg: complete; for an evaluation, what is missing is taken out of its ``visualizer``.
        training: whether it is to be trained.
        say: takes a sentence about each that is taken out.

    Raises:
        UsageError: there is no back end of this name.
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
            say(f'note: {error}; the evaluation goes on without it')
        else:
            kept.append(node)
    if nodes and len(kept) < len(nodes):
        visualizer.vis_backends = kept


def _check_backend(where: str, node: dict, scope: str) -> None:
    kind = node.get('type')
    if not isinstance(kind, str):
        return  # a class; it comes from wherever it was imported
    with DefaultScope.overwrite_default_scope(scope), VISBACKENDS.switch_scope_and_registry(None) as registry:
        try:
            found = registry.get(kind)
        except KeyError as error:
            raise UsageError(f'{where}.type={kind}: {error.args[0]}') from error
        if found is None:
            names = {*registry.module_dict, *VISBACKENDS.module_dict}
            raise UsageError(f'{where}.type={kind}: no visualizer back end has this name; {nearest(kind, names)}')
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
    """Return the type of a back end without its scope."""
    kind = node.get('type')
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _entry(logger: str, run: str) -> dict[str, Any]:
    """Return a back end for the runs of this name."""

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
