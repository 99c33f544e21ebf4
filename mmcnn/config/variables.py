"""Variables of a config file, and the entries whose values come from them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmcnn.config.paths import entry, paths_in, place_of
from mmcnn.nearest import nearest

#: Called with a sentence for the user who started the run.
Say = Callable[[str], object]
#: Names that are read at the top of a config: by MMEngine's Runner and its Config, and by :mod:`mmcnn.runs`. Any other
#: name is a variable that a config is built from; once the file is read, only the copies of its value have an effect.
READ = frozenset(
    {*inspect.signature(Runner).parameters, 'custom_imports', 'env_variables'}
    | {'compile', 'sync_bn', 'find_unused_parameters'}  # the Runner reads them from the whole config
    | {'nominal_batch_size', 'scale_lr', 'summed_batch_size', 'drawn_split', 'recipe', 'performance'}
    | {'init_seed', 'train_fraction'}
) - {'cfg'}
#: Variables of data set pipelines, by MMDetection's convention.
_PIPELINES = ('train_pipeline', 'test_pipeline')
_SHOWN = 4
#: Numbers up to this one occur everywhere, so that they do not show where they come from.
_COMMON = 2


def say_unread(cfg: Config, say: Say) -> None:
    """Report which variables set by a config file have no effect: ``img_scale`` or ``max_epochs`` of its base.

    These are variables whose value is in no entry, although entries have their name, and pipelines.
    """
    for name in [name for name in _assigned_in(cfg.filename) if name in cfg and name not in READ]:
        value = cfg[name]
        if isinstance(value, dict) or copies_of(cfg, name, value):
            continue
        named = {path: node for path, node in _effective(cfg) if path.split('.')[-1] == name and not _same(node, value)}
        if named:
            path, node = next(iter(named.items()))
            say(f'note: {name}={value!r} of the config has no effect; the entry in use is {path}={node!r}')
        elif name in _PIPELINES and value:
            read = [path for path, node in _effective(cfg) if path.endswith('.pipeline') and node]
            say(f"note: '{name}' of the config has no effect; the entries in use are {listed_paths(read)}")


def say_of_variable(cfg: Config, key: str, value: Any, found: dict[str, Any], say: Say) -> None:
    """Report which entries an option to a variable sets, or that it has no effect; nothing if it changes nothing."""
    old = entry(cfg, key)
    name = key.split('.')[0]
    if old is not None and _same(old, value):
        return
    if found:
        text = f"note: cfg_options {key}: '{name}' is only a variable of the config; it also sets {listed_paths(found)}"
        if isinstance(old, int | float) and abs(old) > _COMMON:
            stays = [path for path, node in _effective(cfg) if _same(node, old) and path not in found]
            text += f'; {listed_paths(stays)} also has the value {old:g} and is not changed' if stays else ''
        say(text)
        return
    last = key.split('.')[-1]
    names = {path: path.split('.')[-1] for path, _ in _effective(cfg)}
    read = [path for path, own in names.items() if own == last and not last.isdigit()]
    alike = [path for path in read if _type(cfg, key) is not None and _type(cfg, path) == _type(cfg, key)]
    hint = f'the entries in use are {listed_paths(alike or read)}' if read else nearest(last, set(names.values()))
    say(f"note: cfg_options {key} has no effect: '{name}' is never read, and no entry has its value; {hint}")


def copies_of(cfg: Config, key: str, value: Any) -> dict[str, Any]:
    """Return the entries whose value comes from the variable that an option changes, and their new values."""
    parts = key.split('.')
    for depth in range(len(parts), 0, -1):
        old, rest = entry(cfg, '.'.join(parts[:depth])), parts[depth:]
        if depth > 1 and not isinstance(old, dict | list):
            continue  # the origin of a number inside a variable shows only in the surrounding dict
        found: dict[str, Any] = {}
        for path, node in _effective(cfg):
            if any(path.startswith(f'{outer}.') for outer in found):
                continue
            if _same(node, old) and (_distinctive(old) or _alike(path, parts[depth - 1], old)):
                found['.'.join([path, *rest])] = value
            elif depth == len(parts) == 1 and _is_below(node, old) and isinstance(value, str):
                found[path] = value.rstrip('/') + '/' + node.removeprefix(old).lstrip('/')
        if found and parts[0] in cfg:
            return found
    return {}


def listed_paths(paths: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the first paths of a list, separated by commas, and the number of the others."""
    paths = list(paths)
    more = f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else ''
    return ', '.join(paths[:_SHOWN]) + more


def _assigned_in(path: str | None) -> list[str]:
    """Return the variables that a file sets itself, not its base."""
    if path is None or not path.endswith('.py'):
        return []
    body = ast.parse(Path(path).read_text(encoding='utf-8')).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return list(dict.fromkeys(target.id for target in targets if isinstance(target, ast.Name)))


def _effective(cfg: Config) -> Iterator[tuple[str, Any]]:
    for name, node in cfg.items():
        if name in READ:
            yield name, node
            yield from paths_in(node, name)


def _type(cfg: Config, key: str) -> Any:
    """Return the type of the dict that contains an entry."""
    around, _ = place_of(cfg, key)
    return around.get('type') if isinstance(around, dict) else None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    return (type(one) is type(other) or (isinstance(one, dict) and isinstance(other, dict))) and one == other


def _distinctive(value: Any) -> bool:
    """Return whether a value is hardly ever equal by chance: dicts, lists of words or dicts, paths."""
    if isinstance(value, list | tuple):
        return any(_distinctive(each) or isinstance(each, str) for each in value)
    return bool(value) and (isinstance(value, dict) or (isinstance(value, str) and '/' in value))


def _alike(path: str, name: str, value: Any) -> bool:
    """Return whether an entry has a name like a variable: ``scale`` like ``img_scale``, ``lr`` like ``base_lr``."""
    own = next(part for part in reversed(path.split('.')) if not part.isdigit())
    if value is None or isinstance(value, bool) or value in ('', (), []):
        return own == name
    return f'_{own}_' in f'_{name}_' or f'_{name}_' in f'_{own}_'


def _is_below(node: Any, folder: Any) -> bool:
    return isinstance(node, str) and isinstance(folder, str) and '/' in folder and node.startswith(
        folder if folder.endswith('/') else f'{folder}/'
    )  # fmt: skip
