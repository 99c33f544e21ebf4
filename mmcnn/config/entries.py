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

#: Dicts that may be missing; their names are checked where they are read.
_CHECKED = ('randomness.', 'performance.', 'optim_wrapper.loss_scale.', 'env_cfg.cudnn_benchmark')


def merge_options(cfg: Config, options: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Apply ``cfg_options``, and report those without an obvious effect.

    These are new entries, which most often are typing errors, and variables of the config (``img_scale``,
    ``train_pipeline``). The value of a variable is set in all entries that were computed from it: entries that are
    equal to it now (whole dicts and lists anywhere, numbers and the like only below a name similar to its own) and
    paths that begin with it. An entry that is itself in ``options`` keeps the value given there.

    Args:
        cfg: changed in place.
        options: paths of entries and their values. A dict is merged into the existing one unless it has
            ``_delete_=True``, and replaces anything that is not a dict. Not changed.
        say: called with each note.

    Returns:
        all entries that were set, for :func:`set_again`.

    Raises:
        UsageError: an entry cannot be set, or would replace a dict that a run needs.
    """
    options = {key: _copied(value) for key, value in options.items()}
    copies: dict[str, Any] = {}
    for key, value in options.items():
        if _say_if_new(cfg, key, say) or key.split('.')[0] in READ:
            continue
        found = copies_of(cfg, key, value)
        named = [path for path in found if any(f'{path}.'.startswith(f'{each}.') for each in options)]
        if named:
            say(f'note: cfg_options {key}: {listed_paths(named)} is set by another option')
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
    """Set the entries of :func:`merge_options` once more, after others were computed, without notes.

    Keys that were added to a typed dict or list since then stay, and so do dicts whose type has changed.
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
    """Report an option that makes a new entry where a wrong name would not cause an error; return whether it did.

    A dict with a type is built, and its class checks its arguments; the keys of other dicts are only looked up.
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
    """Refuse a path through a value without entries; None on the way becomes a dict."""
    *parents, last = key.split('.')
    node: Any = cfg
    for i, part in enumerate([*parents, last]):
        where = '.'.join(parents[:i])
        if isinstance(node, list) and not (part.isdigit() and int(part) < len(node)):
            raise UsageError(f'cfg_options {key}: {where} is a list with entries 0 to {len(node) - 1}')
        if not isinstance(node, list | dict | Config):
            raise UsageError(f'cfg_options {key}: {where}={node!r} has no entries; set it as a whole')
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
    """Return copies of dicts and lists, because MMEngine removes ``_delete_`` from those that it is given."""
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
