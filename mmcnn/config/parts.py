"""Access to parts of a config that may be alone, in lists or nested: data sets in wrappers, metrics, arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

#: Data loaders of a config.
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def loaders_of(cfg: Config) -> dict[str, dict]:
    """Return the data loaders of a config by name; a training may have no validation."""
    return {name: cfg[name] for name in LOADERS if cfg.get(name) is not None}


def validates(cfg: Config) -> bool:
    """Return whether a training with this config validates."""
    return cfg.get('val_dataloader') is not None


def inner_datasets(dataset: Any) -> Iterator[dict]:
    """Yield the data sets that read files, inside their wrappers: the one of ``dataset=``, all of ``datasets=``."""
    if isinstance(dataset, list | tuple):
        for each in dataset:
            yield from inner_datasets(each)
    elif isinstance(dataset, dict):
        inside = dataset.get('dataset') or dataset.get('datasets')
        if inside is None:
            yield dataset
        else:
            yield from inner_datasets(inside)


def metrics_of(cfg: Config, evaluator: str) -> list[tuple[str, Any]]:
    """Return path and config of each metric of ``val_evaluator`` or ``test_evaluator``: dict, list or Evaluator."""
    node = cfg.get(evaluator)
    if isinstance(node, dict) and 'metrics' in node:
        evaluator, node = f'{evaluator}.metrics', node['metrics']
    if isinstance(node, dict):
        return [(evaluator, node)]
    return [(f'{evaluator}.{number}', each) for number, each in enumerate(node or ())]


def argument_names(kind: type) -> set[str]:
    """Return the names of the arguments of a class and its bases."""
    own = [each.__init__ for each in kind.__mro__[:-1] if '__init__' in vars(each)]
    return {name for init in own for name in inspect.signature(init).parameters}


def takes(kind: Any) -> set[str] | None:
    """Return the names of the arguments of a class, also those that it passes on to its bases; None if unknown.

    Arguments that a class passes on as ``**kwargs`` are known for classes of MMEngine, MMDetection and mmcnn.
    """
    names: set[str] = set()
    if not isinstance(kind, type):
        return None
    for each in kind.__mro__:
        if '__init__' not in vars(each):
            continue
        parameters = inspect.signature(each.__init__).parameters.values()
        kinds = {parameter.kind for parameter in parameters}
        names |= {parameter.name for parameter in parameters} - {'self'}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return names
        if not each.__module__.startswith(('mmengine.', 'mmcv.', 'mmdet.', 'mmcnn.')):
            return None
    return None
