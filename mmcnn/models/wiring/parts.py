"""Properties of a part of a config: its type, its arguments, whether it is ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import DefaultScope

#: Address of a dict inside a model's config: keys, and indices in lists.
Path = tuple[str | int, ...]


def is_part(value: Any) -> bool:
    """Return whether an entry of a config is a part of a model, built by its type."""
    return isinstance(value, dict) and 'type' in value


def is_registered(cfg: dict) -> bool:
    """Return whether the part's type is registered."""
    try:
        return class_of(cfg) is not None
    except KeyError:  # raised by one of our own registries
        return False


def ours(cfg: dict) -> bool:
    """Return whether the part is from this package; bare names such as ResNet and VGG are MMDetection's own."""
    kind = cfg['type']
    return kind.startswith('mmcnn.') if isinstance(kind, str) else kind.__module__.startswith('mmcnn.')


def short(cfg: dict) -> str:
    """Return the type without its scope."""
    kind = cfg['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def type_name(cfg: dict) -> str:
    """Return the type as it is written, or the name of the class given as type."""
    kind = cfg['type']
    return kind if isinstance(kind, str) else kind.__name__


def is_a(cfg: dict, names: Sequence[str]) -> bool:
    """Return whether a part's class, or one of its base classes, has one of these names."""
    part = class_of(cfg)
    return short(cfg) in names or any(cls.__name__ in names for cls in getattr(part, '__mro__', ()))


def arguments(cfg: dict) -> dict[str, inspect.Parameter]:
    """Return the arguments of a part by their names, including those that it passes on to its base classes."""
    names: dict[str, inspect.Parameter] = {}
    part = class_of(cfg)
    for cls in part.__mro__ if isinstance(part, type) else ():
        parameters = inspect.signature(cls.__init__).parameters
        names = {**parameters, **names}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return names


def class_of(cfg: dict) -> Any:
    """Return the class or function that a part's type refers to; None: nothing has this name."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        part = MMDET_MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    return getattr(part, 'func', part)  # a row of a backbone's table is a partial


def takes_list(cfg: dict, key: str) -> bool | None:
    """Return whether an argument of a part is a list of numbers according to its annotation; None: unknown."""
    parameter = arguments(cfg).get(key)
    if parameter is None or parameter.annotation is parameter.empty:
        return None
    words = str(parameter.annotation).lower()
    many, one = any(kind in words for kind in ('list', 'tuple', 'sequence')), 'int' in words.replace('[int', '')
    return many if many != one else None


def each(cfg: dict, key: str) -> Iterator[tuple[Path, dict]]:
    """Yield the parts under a key of a config, which may hold one part or a list, each with its address."""
    value = cfg.get(key)
    if is_part(value):
        yield (key,), value
    elif is_list(value):
        yield from (((key, i), part) for i, part in enumerate(value) if is_part(part))


def at(cfg: Any, path: Path) -> Any:
    """Return the value at an address."""
    for key in path:
        cfg = cfg[key]
    return cfg


def plain(value: Any) -> Any:
    """Return a sequence as a list, for comparisons."""
    return list(value) if is_list(value) else value


def is_list(value: Any) -> bool:
    """Return whether a value is a sequence other than a string."""
    return isinstance(value, Sequence) and not isinstance(value, str)
