"""Suggestions for mistyped names and values."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any


def nearest(name: str, known: Any, prefix: str = '', count: int = 5) -> str:
    """Return the known names closest to ``name`` or beginning with it, as the end of an error; all if they are few."""
    names = sorted(known)
    begin = [each for each in names if name and each.startswith(name)]
    close = list(dict.fromkeys(begin + get_close_matches(name, names, n=count, cutoff=0.4)))[:count]
    if close:
        return 'did you mean ' + ' or '.join(prefix + each for each in close) + '?'
    return (
        'known: ' + ', '.join(prefix + each for each in names)
        if len(names) <= 30
        else f'none of the {len(names)} known names is similar'
    )


def as_share(value: float) -> str:
    """Return the end of an error about a value not between 0 and 1: its value as a share, if it may be in percent."""
    return f'; {value:g} % is {value / 100:g}' if 1 < value <= 100 else ''
