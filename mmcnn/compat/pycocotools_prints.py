"""Silences pycocotools, which prints its progress ("loading annotations into memory...") and has no option for it.

See https://github.com/cocodataset/cocoapi/issues/598; unchanged in pycocotools 2.0.11 (``pycocotools/coco.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pycocotools.coco
from mmengine.logging import print_log


@contextlib.contextmanager
def to_the_log() -> Iterator[None]:
    """Redirect what pycocotools prints to the current log of MMEngine while the context is open."""

    def log(*words: Any) -> None:
        print_log(' '.join(map(str, words)), logger='current')

    pycocotools.coco.print = log  # a module's own name takes precedence over the built-in one
    try:
        yield
    finally:
        # Another thread may have done so already.
        vars(pycocotools.coco).pop('print', None)
