"""``cfg_options``: overriding entries of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from mmcnn.config.paths import child_of, place_of
from mmcnn.config.types import check_structure
from mmcnn.config.variables import READ, Say, copies_of, listed_paths, say_of_variable
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Dicts that may be missing before, and whose names are looked at where they are read.
_CHECKED = ('randomness.', 'performance.', 'optim_wrapper.loss_scale.', 'env_cfg.cudnn_benchmark')


def merge_options(cfg: Config, options: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Apply ``cfg_options``, and say what of them is not plainly in effect.

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
        every entry that was set, for :func:`set_again`.

    Raises:
        UsageError: an entry cannot be set, or what is no dict would stand where a run needs one.
    """
    options = {key: _copied(value) for key, value in options.items()}
    copies: dict[str, Any] = {}
    for key, value in options.items():
        if _say_if_new(cfg, key, say) or key.split('.')[0] in READ:
            continue
        found = copies_of(cfg, key, value)
        named = [path for path in found if any(f'{path}.'.startswith(f'{each}.') for each in options)]
        if named:
            say(f'note: cfg_options {key}: {listed_paths(named)} is set by an option of its own')
        found = {path: new for path, new in found.items() if path not in named}
        if found or not named:
            say_of_variable(cfg, key, value, found, say)
        copies |= found
    merged = {key: _replacing(value, *place_of(cfg, key)) for key, value in {**copies, **options}.items()}
    _merge(cfg, copies)
    _merge(cfg, {key: merged[key] for key in options})
    check_structure(cfg)
    return {key: _without_delete(value) for key, value in merged.items()}


def set_again(cfg: Config, entries: Mapping[str, Any]) -> None:
    """Set what :func:`merge_options` has set once more, after other entries were worked out, and say nothing.

    What has been added since inside of a typed dict or list stays; a dict that has become one of another type, too.
    """
    for key, value in entries.items():
        around, name = place_of(cfg, key)
        _set_again(around, name, value)


def _set_again(around: Any, name: str, value: Any) -> None:
    node = child_of(around, name)
    if isinstance(value, dict) and isinstance(node, dict):
        if value.get('type') in (None, node.get('type')):
            for key, each in value.items():
                _set_again(node, key, each)
    elif isinstance(value, list) and isinstance(node, list) and len(value) <= len(node):
        for number, each in enumerate(value):
            _set_again(node, str(number), each)
    elif isinstance(around, list):
        around[int(name)] = _copied(value)
    elif isinstance(around, dict | Config):
        around[name] = _copied(value)


def _merge(cfg: Config, entries: Mapping[str, Any]) -> None:
    for key in entries:
        _check_parents(cfg, key)
    try:
        cfg.merge_from_dict({key: _copied(value) for key, value in entries.items()})
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f'cfg_options={dict(entries)} cannot be set: {error}') from error


def _say_if_new(cfg: Config, key: str, say: Say) -> bool:
    """Say so if an option makes an entry where nothing would refuse a wrong name; whether it did.

    A dict with a type is built, and its class knows its arguments; those of a dict without one are just looked up.
    """
    if key.startswith(_CHECKED):
        return False
    node: Any = cfg
    parts = key.split('.')
    for i, part in enumerate(parts):
        if not isinstance(node, dict | Config) or part in node:
            node = child_of(node, part)
            continue
        last, where = i == len(parts) - 1, '.'.join(parts[:i])
        if last and (not where or 'type' in node or not node or where.endswith('_dataloader')):
            return False
        say(f"note: cfg_options {key}: {where or 'the config'} had no '{part}' before; {nearest(part, node)}")
        return True
    return False


def _check_parents(cfg: Config, key: str) -> None:
    """Refuse a path through what has no entries; None on the way becomes a dict."""
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
    """Return a dict that replaces a value that is not one, which MMEngine would reject; ``_delete_`` only if needed."""
    if not isinstance(value, dict) or isinstance(child_of(around, key), list):
        return value
    node = child_of(around, key)
    if isinstance(node, dict) and not value.get('_delete_'):
        return {name: _replacing(each, node, name) for name, each in value.items()}
    there = isinstance(around, dict | Config) and key in around
    return {**_without_delete(value), **(dict(_delete_=True) if there else {})}


def _without_delete(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_delete(each) for key, each in value.items() if key != '_delete_'}
    return value
