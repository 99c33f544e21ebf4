"""A finder on ``sys.meta_path`` that mends a package when it is imported, so that ``import mmcnn`` need not import it.

- ``mmcv._ext`` is the stand-in of :mod:`mmcnn.compat.mmcv_ext` where no other finder knows a compiled one.
- After ``torch`` has been executed, its allow-list is extended (:mod:`mmcnn.compat.safe_globals`).
- After ``mmengine.utils.dl_utils`` has been executed, its ``collect_env`` is wrapped
  (:mod:`mmcnn.compat.collect_env`).

Nothing is imported here that the import going on does not import itself: another thread may be importing it, and wait
for this one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mmcnn.compat import requirements

EXTENSION = 'mmcv._ext'
STAND_IN = os.path.join(os.path.dirname(__file__), 'mmcv_ext.py')


def apply() -> None:
    """Make the installed torch, MMEngine and mmcv work together, whenever they are imported.

    Called when mmcnn is imported, harmless to repeat. Must run before ``mmdet.models`` is imported: mmcv's operators
    look their extension up at import time.
    """
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    for name, mend in MEND_AFTER.items():
        if sys.modules.get(name) is not None:
            import_module(name)  # waits where another thread is importing it
            mend()


def _mend_torch() -> None:
    if requirements.torch_is_supported():  # otherwise mmcnn refuses it as soon as it needs it
        from mmcnn.compat import safe_globals

        safe_globals.install()


def _mend_dl_utils() -> None:
    from mmcnn.compat import collect_env

    collect_env.install()


#: Name of a module -> what is done once it has been executed; harmless to repeat.
MEND_AFTER = {'torch': _mend_torch, 'mmengine.utils.dl_utils': _mend_dl_utils}


class Finder:
    """Gives the stand-in for ``mmcv._ext``, and the modules of :data:`MEND_AFTER` with what is done after them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if name == EXTENSION:
            return self._found_by_others(name, path, target) or ModuleSpec(name, _StandInLoader(), origin=STAND_IN)
        if name in MEND_AFTER:
            found = self._found_by_others(name, path, target)
            if found is not None and found.loader is not None:
                found.loader = _MendingLoader(found.loader, MEND_AFTER[name])
            return found
        return None

    def _found_by_others(self, *query: Any) -> ModuleSpec | None:
        # Only those behind: those before this one have been asked already.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            if hasattr(finder, 'find_spec') and (found := finder.find_spec(*query)) is not None:
                return found
        return None


FINDER = Finder()


class _MendingLoader:
    """A module's own loader, and a call once the module has been executed; its error is that of the import."""

    def __init__(self, loader: Any, mend: Callable[[], None]) -> None:
        self._loader = loader
        self._mend = mend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # the rest of what a loader can: source, data files ...

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on nothing tells the module from one that was loaded without mmcnn.
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._mend()


class _StandInLoader:
    """Imports torch only when the stand-in is executed."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from mmcnn.compat import mmcv_ext

        mmcv_ext.fill(module)
