"""Names that stood in this package up to release 0.1, kept for one release."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, places: str | Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module whose names stand elsewhere now; each warns when it is asked for.

    Args:
        module: the old one.
        places: the module that all its names have moved to, or that of each.
    """

    def find(name: str) -> Any:
        place = places if isinstance(places, str) else places.get(name)
        if place is None or name.startswith('__') or not hasattr(importlib.import_module(place), name):
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        warnings.warn(f'{module}.{name} has moved to {place}', DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(place), name)

    return find
