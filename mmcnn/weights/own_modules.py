"""Users' own modules that a run imports, and what a checkpoint may build from them.

A checkpoint's config may name types of anybody's package. It is read as data (:mod:`mmcnn.weights.recorded_config`), so
that what it says of imports (``custom_imports``) is never acted on: who has the checkpoint, says by ``imports`` which
modules he trusts.
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
    """Import modules, which register what they have, and trust the packages that they are of for this process.

    The current folder is searched last, as ``python -m`` searches it first.

    Raises:
        UsageError: there is no such module, or its import fails; says why.
    """
    if names and not {'', os.getcwd()} & {*sys.path}:
        sys.path.append(os.getcwd())
    for name in names or ():
        if not all(part.isidentifier() for part in name.split('.')):
            raise UsageError(f"import='{name}': it has to be the name of a module, such as my_package.backbones")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f'{name}.'.startswith(f'{error.name}.'):
                raise UsageError(
                    f"import='{name}': there is no module '{error.name}'; install its package, or put the folder that "
                    f'holds it on PYTHONPATH (it is none of {os.getcwd()})'
                ) from error
            raise UsageError(f"import='{name}': its import fails: {type(error).__name__}: {error}") from error
        except Exception as error:  # it is a program, and may raise anything
            raise UsageError(f"import='{name}': its import fails: {type(error).__name__}: {error}") from error
        if (package := name.partition('.')[0]) not in _NEVER:
            _TRUSTED.add(package)


def record_imports(cfg: Config, names: Sequence[str] | None) -> None:
    """Write modules that were imported down in a config, so that whoever has its checkpoint is told of them."""
    if names:
        entry = cfg.get('custom_imports') or dict(allow_failed_imports=False)
        known = entry.get('imports') or []
        known = [known] if isinstance(known, str) else [*known]
        cfg.custom_imports = dict(entry, imports=[*dict.fromkeys((*known, *names))])


def is_trusted(name: str) -> bool:
    """Return whether a module, or a type by its dotted name, is of a package that was imported on purpose."""
    return name.partition('.')[0] in _TRUSTED


def recorded_imports(text: str) -> tuple[str, ...]:
    """Return the modules that a recorded config names in ``custom_imports``, but for mmcnn's; nothing is imported."""
    try:
        values = {ast.unparse(each.targets[0]): each.value for each in ast.parse(text).body}
        entry = next(each.value for each in values['custom_imports'].keywords if each.arg == 'imports')
        names = ast.literal_eval(entry)
    except (AttributeError, KeyError, MemoryError, RecursionError, StopIteration, SyntaxError, TypeError, ValueError):
        return ()  # there are none, or they are written in other words
    names = [names] if isinstance(names, str) else names
    return tuple(name for name in names if isinstance(name, str) and name.partition('.')[0] != 'mmcnn')
