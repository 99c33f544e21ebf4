"""Keeps MMEngine's start-up log from failing if torchvision cannot be imported.

PyPI's torchvision is built against CUDA; next to a CPU build of torch its import raises a RuntimeError ("operator
torchvision::nms does not exist"). MMEngine's ``collect_env`` expects at most an ImportError, so every run would fail
when it logs the versions (mmengine 0.10.7, ``utils/dl_utils/collect_env.py``).
"""

import functools
import sys
from typing import Any

import mmengine.utils.dl_utils as dl_utils


def install() -> None:
    """Replace MMEngine's ``collect_env`` where it is looked up, once."""
    original = dl_utils.collect_env
    if hasattr(original, 'without_torchvision'):
        return

    @functools.wraps(original)
    def collect_env() -> Any:
        try:
            return original()
        except RuntimeError:
            if 'torchvision' in sys.modules:  # it was imported: the error has another cause
                raise
            sys.modules['torchvision'] = None  # importing it now raises ModuleNotFoundError
            try:
                return original()
            finally:
                del sys.modules['torchvision']

    collect_env.without_torchvision = True
    dl_utils.collect_env = collect_env
    if 'mmengine.runner.runner' in sys.modules:
        sys.modules['mmengine.runner.runner'].collect_env = collect_env
