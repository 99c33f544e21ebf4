"""Configs in MMEngine's newer style: ``with read_base():`` imports the bases, and a ``type`` is a class or function.

They are converted to the older style. Types can then be found by their names, and a run writes ``type='RetinaNet'``
to its checkpoints. MMEngine's own text for a class, ``'mmdet.models.detectors.RetinaNet'``, would be imported when it
is built, which data must not cause.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import mmdet.registry
import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry

import mmcnn.registry
from mmcnn.compat.packaged_configs import package_folder

#: Default scope of names without one.
SCOPE = 'mmdet'


def with_names(cfg: Config) -> Config:
    """Return the config with the registered name of each class in its place; itself if it has no classes.

    Names are those of MMDetection's scope, which becomes the config's, and ``mmcnn.NAME`` for ours. A class that is not
    registered gets the name with its module, as in MMEngine. So does a function that is a ``type``, for example of a
    ``collate_fn``.
    """
    if not any(_has_name(*each) for each in _entries({key: cfg[key] for key in cfg.to_dict()})):
        return cfg
    named = {key: _named(cfg[key]) for key in cfg.to_dict()}  # without the imports of the file
    if named.get('default_scope') is None:
        named['default_scope'] = SCOPE
    return Config(named, filename=cfg.filename)


def imported_bases(path: Path) -> list[Path]:
    """Return the files that a config imports under ``with read_base():``, in their order."""
    if path.suffix != '.py':  # YAML and JSON, which MMEngine reads too
        return []
    found = []
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.With) and ast.unparse(node.items[0]) == 'read_base()':
            for each in node.body:
                folder, parts = path.parent, each.module.split('.')
                if each.level == 0:
                    folder = package_folder(parts.pop(0))
                for _ in range(each.level - 1):
                    folder = folder.parent
                found.append(folder.joinpath(*parts).with_suffix('.py'))
    return found


def _entries(node: Any, key: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield all values inside of dicts and lists that are neither, with their keys; None for entries of a list."""
    if isinstance(node, dict):
        for name, each in node.items():
            yield from _entries(each, name)
    elif isinstance(node, list | tuple):
        for each in node:
            yield from _entries(each)
    else:
        yield key, node


def _has_name(key: Any, value: Any) -> bool:
    return inspect.isclass(value) or (key == 'type' and inspect.isfunction(value))


def _named(node: Any, key: Any = None) -> Any:
    if isinstance(node, dict):
        return {name: _named(value, name) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_named(each) for each in node)
    return _name(node) if _has_name(key, node) else node


def _name(cls: type | FunctionType) -> str:
    names = _registered().get(cls) or [f'{cls.__module__}.{cls.__qualname__}']
    # It has several if there is a short name, too: Conv2d is also Conv.
    return cls.__name__ if cls.__name__ in names else names[0]


def _registered() -> dict[Any, list[str]]:
    """Return the names of each class and function in MMDetection's and MMEngine's registries, and in ours."""
    found: dict[Any, list[str]] = {}
    for module, scope in ((mmdet.registry, ''), (mmengine.registry, ''), (mmcnn.registry, 'mmcnn.')):
        for registry in [each for each in vars(module).values() if isinstance(each, Registry)]:
            for name, each in registry.module_dict.items():
                found.setdefault(each, []).append(f'{scope}{name}')
    return found
