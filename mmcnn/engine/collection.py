"""Pausing of Python's garbage collector where it only costs time."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Hold cyclic garbage collection back, for code that makes millions of objects in no cycles and keeps them.

    The collector looks at all of them again and again: to parse the annotations of COCO takes three times as long with
    it. Afterwards it is as it was before.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
