"""``mmdet::retinanet/retinanet_r50_fpn_1x_coco``: configs of installed packages, by name.

MMEngine 0.10.7 supports such names in ``_base_`` (``Config._get_cfg_path``) and in ``mmengine.hub``, but finds none of
them with setuptools 82 and newer, which lack ``pkg_resources`` (fixed in
https://github.com/open-mmlab/mmengine/pull/1676, which is not released). It accepts neither ``mmcnn::`` nor a name
without a folder. Here the package is located as Python's import does, so that a checkout works as well as an
installation, without importing it.
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

#: Separates a package and the name of its config.
MARK = '::'
#: Where MMEngine has the two functions that need ``pkg_resources``.
_HOLDERS = ('mmengine.utils.package_utils', 'mmengine.utils', 'mmengine.config.config', 'mmengine.hub.hub')


def is_packaged(name: str) -> bool:
    """Return whether a text is the name of a packaged config rather than an existing file, which has precedence."""
    return MARK in name and not os.path.isfile(name)


def folder_below(package: Path) -> Path:
    """Return ``configs/`` of a package: inside its folder after an installation, next to it in a checkout."""
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
            ``mmdet::_base_/models/retinanet_r50_fpn.py``, which is meant to be inherited from.

    Raises:
        UsageError: there is no such package, or it has no such config; the message lists the nearest ones.
    """
    package, _, wanted = name.partition(MARK)
    if not package.isidentifier() or not wanted or MARK in wanted:
        raise UsageError(f"'{name}': use PACKAGE{MARK}NAME for the config of a package, such as mmcnn{MARK}yolov5_s")
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
        raise UsageError(f"'{name}': {package} has no configs in {place / '.mim' / 'configs'} and {folder}")
    if wanted not in known:
        same = [each for each in known if each.rpartition('/')[2] == wanted.rpartition('/')[2]]  # in another folder
        raise UsageError(f"{package} has no config '{wanted}'; {nearest(wanted, same or known)}")
    return known[wanted]


def package_folder(package: str) -> Path | None:
    """Return the folder of a package, found without importing it; None: there is none, or it has no ``__init__``."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # it is being imported, or was put into sys.modules manually
        return None
    return None if spec is None or not spec.has_location or spec.origin is None else Path(spec.origin).parent


def install_functions() -> None:
    """Replace MMEngine's ``is_installed`` and ``get_installed_path`` if ``pkg_resources`` is missing."""
    if importlib.util.find_spec('pkg_resources') is not None:
        return
    for name in _HOLDERS:
        module = sys.modules.get(name)
        for function in (is_installed, get_installed_path):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)


def is_installed(package: str) -> bool:
    """Return whether a distribution or a package of this name exists, like MMEngine's, without ``pkg_resources``."""
    return _distributed(package) is not None or package_folder(package) is not None


def get_installed_path(package: str) -> str:
    """Return the folder of a package, also by the name of its distribution (``mmsegmentation``).

    Raises:
        ModuleNotFoundError: there is none.
    """
    folder = package_folder(package) or _distributed(package)
    if folder is None:
        raise ModuleNotFoundError(f'{package} is not installed, or does not have its own folder', name=package)
    return str(folder)


def _distributed(distribution: str) -> Path | None:
    """Return the folder of the first package of a distribution."""
    try:
        names = (metadata.distribution(distribution).read_text('top_level.txt') or '').split()
    except metadata.PackageNotFoundError:
        return None
    return next((folder for name in names if (folder := package_folder(name)) is not None), None)


def install_names() -> None:
    """Make ``Config`` find every base that is given by package, once."""
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
