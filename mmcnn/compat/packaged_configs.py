"""``mmdet::retinanet/retinanet_r50_fpn_1x_coco``: the configs that come with a package, by name.

MMEngine 0.10.7 knows such names in ``_base_`` (``Config._get_cfg_path``) and in ``mmengine.hub``, and finds none of
them beside setuptools 82 and newer, which have no ``pkg_resources`` any more (mended in
https://github.com/open-mmlab/mmengine/pull/1676, which no release has). It takes neither ``mmcnn::`` nor a name without
a folder. Here the package is looked up as Python's import finds it, so that a checkout serves as well as an
installation, and nothing of it is imported.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path

from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Between a package and the name of its config.
MARK = '::'
#: Where MMEngine keeps the two functions that need ``pkg_resources``.
_HOLDERS = ('mmengine.utils.package_utils', 'mmengine.utils', 'mmengine.config.config', 'mmengine.hub.hub')


def is_packaged(name: str) -> bool:
    """Return whether a text names a config of a package, and not a file, which goes first."""
    return MARK in name and not os.path.isfile(name)


def folder_below(package: Path) -> Path:
    """``configs/`` of a package's folder: inside of it after an installation, beside it in a checkout."""
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def configs_below(folder: Path) -> dict[str, Path]:
    """Return all configs in a folder by their names (``retinanet/retinanet_r50_fpn_1x_coco``), outer ones first."""
    paths = sorted(folder.rglob('*.py'), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix('').as_posix(): path for path in paths}


def packaged_config(name: str) -> Path:
    """Return the file of a config by its package and name, with or without ``.py``.

    Args:
        name: ``mmdet::retinanet/retinanet_r50_fpn_1x_coco``, ``mmcnn::yolov4_cspdarknet53``; also
            ``mmdet::_base_/models/retinanet_r50_fpn.py``, which is one to inherit from.

    Raises:
        UsageError: there is no such package or it has no configs; or none is called so, and the nearest are listed.
    """
    package, _, wanted = name.partition(MARK)
    if not package.isidentifier() or not wanted or MARK in wanted:
        raise UsageError(f"'{name}': a config of a package is named PACKAGE{MARK}NAME, such as mmcnn{MARK}yolov5_s")
    place = package_folder(package)
    if place is None:
        raise UsageError(f"'{name}': the package {package} is not installed")
    folder = folder_below(place)
    wanted = wanted.removeprefix('configs/')
    if wanted.endswith(('.json', '.yaml', '.yml')) and (folder / wanted).is_file():
        return folder / wanted
    wanted = wanted.removesuffix('.py')
    known = configs_below(folder)
    if not known:
        raise UsageError(f"'{name}': {package} has no configs; looked in {place / '.mim' / 'configs'} and {folder}")
    if wanted not in known:
        same = [each for each in known if each.rpartition('/')[2] == wanted.rpartition('/')[2]]  # in another folder
        raise UsageError(f"{package} has no config '{wanted}'; {nearest(wanted, same or known)}")
    return known[wanted]


def package_folder(package: str) -> Path | None:
    """Return the folder of a package, found without importing it; None: there is none, or it has no ``__init__``."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # it is being imported, or was put into sys.modules by hand
        return None
    return None if spec is None or not spec.has_location or spec.origin is None else Path(spec.origin).parent


def install_functions() -> None:
    """Replace MMEngine's ``is_installed`` and ``get_installed_path`` where ``pkg_resources`` is missing."""
    if importlib.util.find_spec('pkg_resources') is not None:
        return
    for name in _HOLDERS:
        module = sys.modules.get(name)
        for function in (is_installed, get_installed_path):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)


def is_installed(package: str) -> bool:
    """Return whether a distribution or a package of this name is there; MMEngine's, without ``pkg_resources``."""
    return _distributed(package) is not None or package_folder(package) is not None


def get_installed_path(package: str) -> str:
    """Return the folder of a package, also by the name of its distribution (``mmsegmentation``).

    Raises:
        ModuleNotFoundError: there is none.
    """
    folder = package_folder(package) or _distributed(package)
    if folder is None:
        raise ModuleNotFoundError(f'{package} is not installed, or has no folder of its own', name=package)
    return str(folder)


def _distributed(distribution: str) -> Path | None:
    """Return the folder of the first package of a distribution."""
    try:
        names = (metadata.distribution(distribution).read_text('top_level.txt') or '').split()
    except metadata.PackageNotFoundError:
        return None
    return next((folder for name in names if (folder := package_folder(name)) is not None), None)


def install_names() -> None:
    """Let ``Config`` find every base that is named by its package, once."""
    config = sys.modules['mmengine.config.config'].Config
    original = config._get_cfg_path
    if hasattr(original, 'finds_packaged_configs'):
        return

    @functools.wraps(original)
    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if MARK not in cfg_path:
            return original(cfg_path, filename)
        path, package = packaged_config(cfg_path), cfg_path.partition(MARK)[0]
        # MMEngine marks the base's parts with the scope of their bare names; those in our configs are MMDetection's.
        return str(path), None if package == 'mmcnn' else package

    get_cfg_path.finds_packaged_configs = True
    config._get_cfg_path = staticmethod(get_cfg_path)
