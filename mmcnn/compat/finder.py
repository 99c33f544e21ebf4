"""A finder on ``sys.meta_path`` that patches packages when they are imported, so that mmcnn need not import them first.

- ``mmcv._ext`` is the stand-in of :mod:`mmcnn.compat.mmcv_ext` if no other finder has a compiled one.
- Modules of mmcnn that have moved are found under their old names (:mod:`mmcnn.compat.moved`).
- After ``torch`` has been executed, its allow-list is extended (:mod:`mmcnn.compat.safe_globals`).
- After ``mmengine.utils.dl_utils`` has been executed, its ``collect_env`` is wrapped
  (:mod:`mmcnn.compat.collect_env`).
- After ``mmengine.utils.package_utils`` and ``mmengine.config.config`` have been executed, configs of packages are
  found by name (:mod:`mmcnn.compat.packaged_configs`).
- After ``mmdet.datasets.utils`` has been executed, MMDetection's tools accept our mosaics
  (:mod:`mmcnn.compat.loading_pipeline`).
- After ``mmdet.models.dense_heads.base_dense_head`` has been executed, its ``predict`` refuses to be traced
(:mod:`mmcnn.compat.traced_predict`); after ``mmdet.models.dense_heads.ssd_head``, that head can predict
(:mod:`mmcnn.compat.ssd_head`); after ``mmdet.models.roi_heads.mask_heads.fcn_mask_head``, masks of boxes outside the
image can be pasted (:mod:`mmcnn.compat.paste_mask`).
- After ``mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor`` has been executed, it keeps coordinates in
  float32 (:mod:`mmcnn.compat.roi_extractor`).
- Modules that make MMDetection and MMEngine slow to start are imported on first use (:mod:`mmcnn.compat.late_imports`).

A patch does not import anything that imports the patched module: another thread might be doing so and waiting for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mmcnn.compat import late_imports, requirements
from mmcnn.compat.moved import MODULES, MovedLoader

EXTENSION = 'mmcv._ext'
STAND_IN = os.path.join(os.path.dirname(__file__), 'mmcv_ext.py')


def apply() -> None:
    """Make the installed torch, MMEngine and mmcv work together, whenever they are imported.

    Called when mmcnn is imported; harmless to repeat. Must run before ``mmdet.models`` is imported: mmcv's operators
    look up their extension at import time.
    """
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    for name, patch in PATCH_AFTER.items():
        if sys.modules.get(name) is not None:
            import_module(name)  # waits if another thread is importing it
            patch()


def _patch_torch() -> None:
    if requirements.torch_is_supported():  # otherwise mmcnn raises an error as soon as it needs it
        from mmcnn.compat import safe_globals

        safe_globals.install()


def _patch_dl_utils() -> None:
    from mmcnn.compat import collect_env

    collect_env.install()


def _patch_package_utils() -> None:
    from mmcnn.compat import packaged_configs

    packaged_configs.install_functions()


def _patch_config() -> None:
    from mmcnn.compat import packaged_configs

    packaged_configs.install_names()


def _patch_dataset_utils() -> None:
    from mmcnn.compat import loading_pipeline

    loading_pipeline.install()


def _patch_base_dense_head() -> None:
    from mmcnn.compat import traced_predict

    traced_predict.install()


def _patch_ssd_head() -> None:
    from mmcnn.compat import ssd_head

    ssd_head.install()


def _patch_roi_extractor() -> None:
    from mmcnn.compat import roi_extractor

    roi_extractor.install()


def _patch_fcn_mask_head() -> None:
    from mmcnn.compat import paste_mask

    paste_mask.install()


#: Name of a module -> the patch that is applied once it has been executed; harmless to repeat.
PATCH_AFTER = {
    'torch': _patch_torch,
    'mmengine.utils.dl_utils': _patch_dl_utils,
    'mmengine.utils.package_utils': _patch_package_utils,
    'mmengine.config.config': _patch_config,
    'mmengine.registry.registry': late_imports.install_registry,
    'mmdet.datasets.utils': _patch_dataset_utils,
    'mmdet.models.dense_heads.base_dense_head': _patch_base_dense_head,
    'mmdet.models.dense_heads.ssd_head': _patch_ssd_head,
    'mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor': _patch_roi_extractor,
    'mmdet.models.roi_heads.mask_heads.fcn_mask_head': _patch_fcn_mask_head,
}


class Finder:
    """Finds the stand-in for ``mmcv._ext`` and moved modules; adds their patches to those of :data:`PATCH_AFTER`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if name == EXTENSION:
            return self._found_by_others(name, path, target) or ModuleSpec(name, _StandInLoader(), origin=STAND_IN)
        if name in MODULES:
            is_package = any(each.startswith(f'{name}.') for each in MODULES)
            return ModuleSpec(name, MovedLoader(), is_package=is_package)
        if name in PATCH_AFTER:
            found = self._found_by_others(name, path, target)
            if found is not None and found.loader is not None:
                found.loader = _PatchingLoader(found.loader, PATCH_AFTER[name])
            return found
        if name in late_imports.LIBRARIES or name in late_imports.CLASSES:
            found = self._found_by_others(name, path, target)
            if found is not None and found.loader is not None:
                found.loader = late_imports.LateLoader(found.loader)
            return found
        return None

    def _found_by_others(self, *query: Any) -> ModuleSpec | None:
        # Only the finders after this one: those before it have been asked already.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            if hasattr(finder, 'find_spec') and (found := finder.find_spec(*query)) is not None:
                return found
        return None


FINDER = Finder()


class _PatchingLoader:
    """A module's own loader, which then applies a patch; if that fails, so does the import, with the same error."""

    def __init__(self, loader: Any, patch: Callable[[], None]) -> None:
        self._loader = loader
        self._patch = patch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # whatever else a loader has: source, data files ...

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on, the module is indistinguishable from one that was imported without mmcnn.
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._patch()


class _StandInLoader:
    """Fills the stand-in when it is executed: torch is imported only then."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from mmcnn.compat import mmcv_ext

        mmcv_ext.fill(module)
