"""Replacement of a config's optimizer; arguments that only the old one has are dropped."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS, DefaultScope, Registry

from mmcnn.config.parts import takes
from mmcnn.config.paths import entry
from mmcnn.config.variables import Say

#: Entries, their registries, and the type whose arguments a config file may have inherited from its base.
_PLACES = (('optim_wrapper', OPTIM_WRAPPERS, 'AmpOptimWrapper'), ('optim_wrapper.optimizer', OPTIMIZERS, 'SGD'))
#: Entries of the wrapper that its constructor reads.
_OF_CONSTRUCTOR = {'type', 'constructor', 'paramwise_cfg', 'optimizer'}


def optimizer_types(cfg: Config) -> dict[str, Any]:
    """Return the types of the optimizer and its wrapper by their entries; None if a config does not set one."""
    return {where: (_dict_at(cfg, where) or {}).get('type') for where, _, _ in _PLACES}


def drop_left_over(cfg: Config, before: dict[str, Any], typed: Collection[str], say: Say) -> None:
    """Drop the arguments of the previous optimizer (or its wrapper) that the new one does not take, and report them.

    This includes arguments of SGD, which all our recipes use, if a config file replaces it but inherits them. Unknown
    and user-given arguments stay; the check of types refuses them.

    Args:
        cfg: with the user's options; changed in place.
        before: :func:`optimizer_types` without them.
        typed: the user's entries, with their parents.
        say: called with a sentence about each optimizer that loses arguments.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        for where, registry, base in _PLACES:
            node = _dict_at(cfg, where)
            known = _takes(registry, node and node.get('type'))
            if node is None or known is None:
                continue
            old = (_takes(registry, before[where]) or set()) | (_takes(registry, base) or set())
            dropped = {
                name: node.pop(name)
                for name in [*node]
                if name in old - known - _OF_CONSTRUCTOR and f'{where}.{name}' not in typed
            }
            if dropped:
                say(f'note: {_sentence(where, node, dropped, before[where], typed)}')


def _sentence(where: str, node: dict, dropped: dict[str, Any], before: Any, typed: Collection[str]) -> str:
    kept = ', '.join(f'{name}={value}' for name, value in node.items() if name in ('lr', 'weight_decay'))
    text = f'{where}: dropped {", ".join(f"{k}={v}" for k, v in dropped.items())}, which {node["type"]} does not take'
    if not kept:
        return text
    of_other = before not in (None, node['type']) and f'{where}.lr' not in typed
    return f'{text}; it uses {kept}' + (f', set for {before}' if of_other else '')


def _dict_at(cfg: Config, where: str) -> dict | None:
    node = entry(cfg, where)
    return node if isinstance(node, dict) else None


def _takes(registry: Registry, kind: Any) -> set[str] | None:
    try:
        return takes(registry.get(kind) if isinstance(kind, str) else kind)
    except KeyError:  # raised by one of our registries; check_types reports it
        return None
