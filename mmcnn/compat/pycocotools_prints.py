"""pycocotools prints what it does ("loading annotations into memory..."), and has no switch for it.

https://github.com/cocodataset/cocoapi/issues/598; so in pycocotools 2.0.11 (``pycocotools/coco.py``).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from mmengine.logging import print_log


def to_the_log() -> AbstractContextManager:
    """While it is open, what pycocotools prints goes to the current log of MMEngine."""

    def log(*words: Any) -> None:
        print_log(' '.join(map(str, words)), logger='current')

    return patch('pycocotools.coco.print', log, create=True)
