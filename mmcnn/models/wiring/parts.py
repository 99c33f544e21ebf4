"""What a part of a config is: its type, its arguments, whether it is ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import DefaultScope

#: Address of a dict inside a model's config: keys, and numbers where it stands in a list.
Path = tuple[str | int, ...]


def is_part(value: Any) -> bool:
    """Whether an entry of a config is a part of a model that is built by its type."""
    return isinstance(value, dict) and 'type' in value


def is_registered(cfg: dict) -> bool:
    """Whether there is something of the part's type."""
    try:
        return class_of(cfg) is not None
    except KeyError:  # of one of our own registries
        return False


def ours(cfg: dict) -> bool:
    """Whether the part is one of this package: MMDetection has a ResNet and a VGG, too, and bare names are its own."""
    kind = cfg['type']
    return kind.startswith('mmcnn.') if isinstance(kind, str) else kind.__module__.startswith('mmcnn.')


def short(cfg: dict) -> str:
    """The type without its scope."""
    kind = cfg['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def type_name(cfg: dict) -> str:
    """The type as it is written, or the name of the class that stands there."""
    kind = cfg['type']
    return kind if isinstance(kind, str) else kind.__name__


def is_a(cfg: dict, names: Sequence[str]) -> bool:
    """Whether a part's class, or one that it derives from, has one of these names."""
    part = class_of(cfg)
    return short(cfg) in names or any(cls.__name__ in names for cls in getattr(part, '__mro__', ()))


def arguments(cfg: dict) -> dict[str, inspect.Parameter]:
    """The arguments of a part by their names, also those that it passes on to its base classes."""
    names: dict[str, inspect.Parameter] = {}
    part = class_of(cfg)
    for cls in part.__mro__ if isinstance(part, type) else ():
        parameters = inspect.signature(cls.__init__).parameters
        names = {**parameters, **names}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return names


def class_of(cfg: dict) -> Any:
    """What a part's type stands for: a class, or a function; None: nothing has this name."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        part = MMDET_MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    return getattr(part, 'func', part)  # a row of a backbone's table is a partial


def takes_list(cfg: dict, key: str) -> bool | None:
    """Whether an argument of a part is a list of numbers, as its annotation says; None: it says nothing."""
    parameter = arguments(cfg).get(key)
    if parameter is None or parameter.annotation is parameter.empty:
        return None
    words = str(parameter.annotation).lower()
    many, one = any(kind in words for kind in ('list', 'tuple', 'sequence')), 'int' in words.replace('[int', '')
    return many if many != one else None


def each(cfg: dict, key: str) -> Iterator[tuple[Path, dict]]:
    """The parts under a key of a config, which may be one or a list of them, each with its address."""
    value = cfg.get(key)
    if is_part(value):
        yield (key,), value
    elif is_list(value):
        yield from (((key, i), part) for i, part in enumerate(value) if is_part(part))


def at(cfg: Any, path: Path) -> Any:
    """What stands at an address."""
    for key in path:
        cfg = cfg[key]
    return cfg


def plain(value: Any) -> Any:
    """A sequence as a list, for comparisons."""
    return list(value) if is_list(value) else value


def is_list(value: Any) -> bool:
    """Whether it is a sequence other than a string."""
    return isinstance(value, Sequence) and not isinstance(value, str)
