"""Entries of a config by their paths: ``train_dataloader.dataset.pipeline.0``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config


def paths_in(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield path and value of every entry inside a config, outer ones first."""
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


def child_of(node: Any, key: str) -> Any:
    """Return the value of a dict or a list under a key; None if there is none."""
    if isinstance(node, dict | Config):
        return node.get(key)
    if isinstance(node, list) and key.isdigit() and int(key) < len(node):
        return node[int(key)]
    return None


def place_of(cfg: Config, key: str) -> tuple[Any, str]:
    """Return the dict or list that contains an entry, and the entry's key in it."""
    around, _, name = key.rpartition('.')
    return (entry(cfg, around) if around else cfg), name


def entry(cfg: Config, key: str) -> Any:
    """Return the value at a path; None if there is none."""
    node: Any = cfg
    for part in key.split('.'):
        node = child_of(node, part)
    return node


def with_parents(entries: dict[str, Any]) -> set[str]:
    """Return the paths of entries, of everything inside them, and of all their parents."""
    paths = [path for key, value in entries.items() for path in (key, *(each for each, _ in paths_in(value, key)))]
    parts = [path.split('.') for path in paths]
    return {'.'.join(each[:end]) for each in parts for end in range(1, len(each) + 1)}
