"""``cfg_options``: entries of a config that are overridden, and where a config's variables are read."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmcnn.config.types import check_structure
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Takes a sentence for whoever started the run.
Say = Callable[[str], object]
#: What is read at the top of a config: by MMEngine's Runner and its Config, and by :mod:`mmcnn.runs`. Any other name is
#: a variable by which a config is put together; once the file is read, only the copies of its value have an effect.
READ = frozenset(
    {*inspect.signature(Runner).parameters, 'custom_imports', 'env_variables'}
    | {'nominal_batch_size', 'scale_lr', 'summed_batch_size'}
) - {'cfg'}
#: Variables for the pipelines of data sets, by MMDetection's convention.
_PIPELINES = ('train_pipeline', 'test_pipeline')
_SHOWN = 4
#: Numbers up to here are everywhere, and say nothing of where they come from.
_COMMON = 2


def merge_options(cfg: Config, options: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Applies ``cfg_options``, and says what of them is not plainly in effect.

    That is an entry that was not there before, which most often is a typo; and a variable of the config
    (``img_scale``, ``train_pipeline``). Its value is set where the config has taken it from the variable: the entries
    that are equal to it now, whole dicts and lists at any place, numbers and the like only below a name like its own;
    and paths that begin with it. An entry that ``options`` names itself keeps that value.

    Args:
        cfg: changed in place.
        options: entry, by its path, and value. A dict is merged into the one that is there unless it has
            ``_delete_=True``, and replaces what is none. Not changed.
        say: takes the notes, a sentence each.

    Returns:
        every entry that was set, for :func:`set_entries` to set again.

    Raises:
        UsageError: an entry cannot be set, or what is no dict would stand where a run needs one.
    """
    options = {key: _copied(value) for key, value in options.items()}
    copies: dict[str, Any] = {}
    for key, value in options.items():
        if _say_if_new(cfg, key, say) or key.split('.')[0] in READ:
            continue
        found = _copies(cfg, key, value)
        named = [path for path in found if any(f'{path}.'.startswith(f'{each}.') for each in options)]
        if named:
            say(f'note: cfg_options {key}: {_listed(named)} is set by an option of its own')
        found = {path: new for path, new in found.items() if path not in named}
        if found or not named:
            _say_of_variable(cfg, key, value, found, say)
        copies |= found
    merged = {key: _replacing(value, *_place(cfg, key)) for key, value in {**copies, **options}.items()}
    set_entries(cfg, copies)
    set_entries(cfg, {key: merged[key] for key in options})
    return {key: _without_delete(value) for key, value in merged.items()}


def say_unread(cfg: Config, say: Say) -> None:
    """Says which variables that a config file sets have no effect: ``img_scale`` or ``max_epochs`` of its base.

    Those are variables that no entry has its value from, although entries have their name, and pipelines.
    """
    for name in [name for name in _assigned_in(cfg.filename) if name in cfg and name not in READ]:
        value = cfg[name]
        if isinstance(value, dict) or _copies(cfg, name, value):
            continue
        named = {path: node for path, node in _effective(cfg) if path.split('.')[-1] == name and not _same(node, value)}
        if named:
            path, node = next(iter(named.items()))
            say(f'note: {name}={value!r} of the config has no effect: what is read is {path}={node!r}')
        elif name in _PIPELINES and value:
            read = [path for path, node in _effective(cfg) if path.endswith('.pipeline') and node]
            say(f"note: '{name}' of the config has no effect: what is read is {_listed(read)}")


def _assigned_in(path: str | None) -> list[str]:
    """Variables that a file sets itself, not its base."""
    if path is None or not path.endswith('.py'):
        return []
    body = ast.parse(Path(path).read_text(encoding='utf-8')).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return list(dict.fromkeys(target.id for target in targets if isinstance(target, ast.Name)))


def set_entries(cfg: Config, entries: Mapping[str, Any]) -> None:
    """Sets entries by their paths, and says nothing.

    Raises:
        UsageError: as :func:`merge_options`.
    """
    for key in entries:
        _check_parents(cfg, key)
    try:
        cfg.merge_from_dict({key: _copied(value) for key, value in entries.items()})
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f'cfg_options={dict(entries)} cannot be set: {error}') from error
    check_structure(cfg)


def paths_in(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Path and value of every entry inside a config, outer ones first."""
    if isinstance(node, dict | Config):
        inside = node.items()
    elif isinstance(node, list | tuple):
        inside = enumerate(node)
    else:
        return
    for key, value in inside:
        below = f'{path}.{key}' if path else str(key)
        yield below, value
        yield from paths_in(value, below)


def _effective(cfg: Config) -> Iterator[tuple[str, Any]]:
    for name, node in cfg.items():
        if name in READ:
            yield name, node
            yield from paths_in(node, name)


def _child(node: Any, key: str) -> Any:
    if isinstance(node, dict | Config):
        return node.get(key)
    if isinstance(node, list) and key.isdigit() and int(key) < len(node):
        return node[int(key)]
    return None


def _place(cfg: Config, key: str) -> tuple[Any, str]:
    """What an entry stands in, and its name there."""
    around, _, name = key.rpartition('.')
    return (_node(cfg, around) if around else cfg), name


def _node(cfg: Config, key: str) -> Any:
    node: Any = cfg
    for part in key.split('.'):
        node = _child(node, part)
    return node


def _say_if_new(cfg: Config, key: str, say: Say) -> bool:
    """Says so if an option makes an entry where nothing would refuse a wrong name; whether it did.

    A dict with a type is built, and its class knows its arguments; those of a dict without one are just looked up.
    """
    node: Any = cfg
    parts = key.split('.')
    for i, part in enumerate(parts):
        if not isinstance(node, dict | Config) or part in node:
            node = _child(node, part)
            continue
        last, where = i == len(parts) - 1, '.'.join(parts[:i])
        if last and (not where or 'type' in node or not node or where.endswith('_dataloader')):
            return False
        say(f"note: cfg_options {key}: {where or 'the config'} had no '{part}' before; {nearest(part, node)}")
        return True
    return False


def _say_of_variable(cfg: Config, key: str, value: Any, found: dict[str, Any], say: Say) -> None:
    old = _node(cfg, key)
    name = key.split('.')[0]
    if old is not None and _same(old, value):
        return
    if found:
        text = f"note: cfg_options {key}: '{name}' is only a variable of the config; set with it: {_listed(found)}"
        if isinstance(old, int | float) and abs(old) > _COMMON:
            stays = [path for path, node in _effective(cfg) if _same(node, old) and path not in found]
            text += f'; {old:g} stands at {_listed(stays)}, too, and stays' if stays else ''
        say(text)
        return
    last = key.split('.')[-1]
    names = {path: path.split('.')[-1] for path, _ in _effective(cfg)}
    read = [path for path, own in names.items() if own == last and not last.isdigit()]
    alike = [path for path in read if _type(cfg, key) is not None and _type(cfg, path) == _type(cfg, key)]
    hint = f'what is read is {_listed(alike or read)}' if read else nearest(last, set(names.values()))
    say(f"note: cfg_options {key} has no effect: nothing reads '{name}', and no entry has its value; {hint}")


def _type(cfg: Config, key: str) -> Any:
    """The type of the dict that an entry stands in."""
    around, _ = _place(cfg, key)
    return around.get('type') if isinstance(around, dict) else None


def _listed(paths: Sequence[str] | Mapping[str, Any]) -> str:
    paths = list(paths)
    more = f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else ''
    return ', '.join(paths[:_SHOWN]) + more


def _copies(cfg: Config, key: str, value: Any) -> dict[str, Any]:
    """The entries that have their value from the variable that an option changes, and what they are to be."""
    parts = key.split('.')
    for depth in range(len(parts), 0, -1):
        old, rest = _node(cfg, '.'.join(parts[:depth])), parts[depth:]
        if depth > 1 and not isinstance(old, dict | list):
            continue  # of a number inside of a variable, only the dict around it says where it comes from
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


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    return (type(one) is type(other) or (isinstance(one, dict) and isinstance(other, dict))) and one == other


def _distinctive(value: Any) -> bool:
    """Whether hardly anything has this value by chance: dicts, lists of words or dicts, paths."""
    if isinstance(value, list | tuple):
        return any(_distinctive(each) or isinstance(each, str) for each in value)
    return bool(value) and (isinstance(value, dict) or (isinstance(value, str) and '/' in value))


def _alike(path: str, name: str, value: Any) -> bool:
    """Whether an entry is called like a variable: ``scale`` like ``img_scale``, ``lr`` like ``base_lr``."""
    own = next(part for part in reversed(path.split('.')) if not part.isdigit())
    if value is None or isinstance(value, bool) or value in ('', (), []):
        return own == name
    return f'_{own}_' in f'_{name}_' or f'_{name}_' in f'_{own}_'


def _is_below(node: Any, folder: Any) -> bool:
    return isinstance(node, str) and isinstance(folder, str) and '/' in folder and node.startswith(
        folder if folder.endswith('/') else f'{folder}/'
    )  # fmt: skip


def _check_parents(cfg: Config, key: str) -> None:
    """Refuses a path through what has no entries; None on the way becomes a dict."""
    *parents, last = key.split('.')
    node: Any = cfg
    for i, part in enumerate([*parents, last]):
        where = '.'.join(parents[:i])
        if isinstance(node, list) and not (part.isdigit() and int(part) < len(node)):
            raise UsageError(f'cfg_options {key}: {where} is a list whose entries are 0 to {len(node) - 1}')
        if not isinstance(node, list | dict | Config):
            raise UsageError(f'cfg_options {key}: {where}={node!r} has no entries of its own; set it as a whole')
        if i == len(parents):
            return
        if isinstance(node, list):
            node = node[int(part)]
        elif node.get(part) is None:
            node[part] = {}
            node = node[part]
        else:
            node = node[part]


def _copied(value: Any) -> Any:
    """Dicts and lists anew; MMEngine takes ``_delete_`` out of those that it is given."""
    if isinstance(value, dict):
        return type(value)({key: _copied(each) for key, each in value.items()})
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _replacing(value: Any, around: Any, key: str) -> Any:
    """A dict, told to take the place of what is none, which MMEngine would refuse; ``_delete_`` only where it acts."""
    if not isinstance(value, dict) or isinstance(_child(around, key), list):
        return value
    node = _child(around, key)
    if isinstance(node, dict) and not value.get('_delete_'):
        return {name: _replacing(each, node, name) for name, each in value.items()}
    there = isinstance(around, dict | Config) and key in around
    return {**_without_delete(value), **(dict(_delete_=True) if there else {})}


def _without_delete(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_delete(each) for key, each in value.items() if key != '_delete_'}
    return value
