"""Users' own modules that a run imports, and what a checkpoint may build from them.

A checkpoint's config may name types of any package. It is read as data (:mod:`mmcnn.weights.recorded_config`), and its
imports (``custom_imports``) are never carried out: the user of the checkpoint decides with ``imports`` which modules to
trust.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Sequence

from mmengine.config import Config

from mmcnn.errors import UsageError

#: Packages of which only parts that are known to be harmless are built from a checkpoint, whoever imports them.
_NEVER = ('mmcnn', 'mmcv', 'mmdet', 'mmengine', 'torch')
_TRUSTED: set[str] = set()


def import_modules(names: Sequence[str] | None) -> None:
    """Import modules, which register their types, and trust their packages for the rest of this process.

    The current folder is searched last (``python -m`` searches it first).

    Raises:
        UsageError: a module does not exist or its import fails; the message says why.
    """
    if names and not {'', os.getcwd()} & {*sys.path}:
        sys.path.append(os.getcwd())
    for name in names or ():
        if not all(part.isidentifier() for part in name.split('.')):
            raise UsageError(f"import='{name}': it must be the name of a module, such as my_package.backbones")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f'{name}.'.startswith(f'{error.name}.'):
                raise UsageError(
                    f"import='{name}': there is no module '{error.name}'; install its package, or add the folder that "
                    f'contains it to PYTHONPATH (it is not in {os.getcwd()})'
                ) from error
            raise UsageError(f"import='{name}': the import failed: {type(error).__name__}: {error}") from error
        except Exception as error:  # a module is a program and may raise anything
            raise UsageError(f"import='{name}': the import failed: {type(error).__name__}: {error}") from error
        if (package := name.partition('.')[0]) not in _NEVER:
            _TRUSTED.add(package)


def record_imports(cfg: Config, names: Sequence[str] | None) -> None:
    """Record imported modules in a config, so that users of its checkpoint are told of them."""
    if names:
        entry = cfg.get('custom_imports') or dict(allow_failed_imports=False)
        known = entry.get('imports') or []
        known = [known] if isinstance(known, str) else [*known]
        cfg.custom_imports = dict(entry, imports=[*dict.fromkeys((*known, *names))])


def is_trusted(name: str) -> bool:
    """Return whether a module, or a type by its dotted name, is in a package that was imported on purpose."""
    return name.partition('.')[0] in _TRUSTED


def recorded_imports(text: str) -> tuple[str, ...]:
    """Return the modules in ``custom_imports`` of a recorded config, except mmcnn's; nothing is imported."""
    try:
        values = {ast.unparse(each.targets[0]): each.value for each in ast.parse(text).body}
        entry = next(each.value for each in values['custom_imports'].keywords if each.arg == 'imports')
        names = ast.literal_eval(entry)
    except (AttributeError, KeyError, MemoryError, RecursionError, StopIteration, SyntaxError, TypeError, ValueError):
        return ()  # there are none, or they are not written as literals
    names = [names] if isinstance(names, str) else names
    return tuple(name for name in names if isinstance(name, str) and name.partition('.')[0] != 'mmcnn')
