"""``mmcv/_ext.py``: mmcnn's operators in place of mmcv's compiled ones, for programs that never import mmcnn.

``import mmcnn`` installs the stand-in of :mod:`mmcnn.compat.mmcv_ext` for one process. MMDetection's own tools and
``mmdet.apis`` import mmcv's operators before they read a config that could import mmcnn, and fail with ``No module
named 'mmcv._ext'`` (mmcv issue 2059). A small file in mmcv's folder, which is read only when the operators are
imported, imports mmcnn there. Python prefers a compiled extension to it, so a compiled mmcv that is installed later
takes precedence; and it is not one of mmcv's own files, so it survives a reinstallation of mmcv.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

from mmcnn.errors import DependencyError, UsageError

#: The first line of the file, which identifies it.
MARK = '# Written by `mmcnn compat install`; `mmcnn compat remove` deletes it.'
CONTENT = f'''{MARK}
"""mmcnn's operators instead of mmcv's compiled ones, which this mmcv does not have."""

try:
    import mmcnn
    from mmcnn.compat import mmcv_ext
except ImportError as error:
    raise ImportError(
        f"this mmcv uses mmcnn's operators, but mmcnn cannot be imported ({{error}}): install mmcnn for this "
        f'Python, or delete {{__file__}}'
    ) from error
import sys

mmcv_ext.fill(sys.modules[__name__])
'''
_NAME = '_ext'


@dataclass(frozen=True)
class Place:
    """The installation of mmcv and the file for its operators.

    Attributes:
        folder: folder of mmcv; None: it is not installed.
        state: 'missing': no mmcv; 'left': mmcv was removed but our file remains; 'compiled': mmcv has operators, or
            another program's file for them; 'none': it has none; 'ours': our file; 'other release': our file, written
            by another release of mmcnn.
        found: the file for the operators, if any.
    """

    folder: Path | None
    state: str
    found: Path | None

    @property
    def file(self) -> Path:
        """The path of our file, whether it exists or not."""
        return self.folder / f'{_NAME}.py'


def look() -> Place:
    """Look for the extension without importing mmcv."""
    spec = PathFinder.find_spec('mmcv') or importlib.util.find_spec('mmcv')
    if spec is None or not spec.submodule_search_locations:
        return Place(None, 'missing', None)
    folders = [Path(each) for each in spec.submodule_search_locations]
    folder, ours = folders[0], [each / f'{_NAME}.py' for each in folders if is_ours(each / f'{_NAME}.py')]
    if spec.origin is None:  # a folder that pip left behind
        return Place(ours[0].parent, 'left', ours[0]) if ours else Place(None, 'missing', None)
    compiled = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f'{_NAME}{suffix}').exists()]
    others = [path for path in (folder / _NAME, folder / f'{_NAME}.py') if path.exists() and not is_ours(path)]
    if compiled or others:
        return Place(folder, 'compiled', (compiled or others)[0])
    if ours:
        same = ours[0].read_text(encoding='utf-8') == CONTENT
        return Place(folder, 'ours' if same else 'other release', ours[0])
    return Place(folder, 'none', None)


def is_ours(path: Path) -> bool:
    """Return whether a file was written by :func:`install`."""
    try:
        return path.is_file() and path.read_text(encoding='utf-8').startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def install() -> Path:
    """Write the file, or replace that of another release of mmcnn.

    Returns:
        the file.

    Raises:
        DependencyError: mmcv is not installed.
        UsageError: it has compiled operators, or its folder is not writable.
    """
    place = look()
    if place.state in ('missing', 'left'):
        left = f' ({place.found} remains from an earlier one)' if place.found else ''
        raise DependencyError(f'mmcv is not installed{left}: run `pip install "mmcnn[lite]"`, then run this again')
    if place.state == 'compiled':
        raise UsageError(
            f'this mmcv has its own operators, {place.found}, which need no replacement; nothing was written'
        )
    unfinished = place.file.with_name(f'{_NAME}.py.{os.getpid()}')
    try:
        unfinished.write_text(CONTENT, encoding='utf-8')
        unfinished.replace(place.file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UsageError(
            f'{place.file} cannot be written: {error.strerror or error}; instead, use `mmcnn run mmdet-tool`, or add '
            '`import mmcnn` to your own program'
        ) from error
    return place.file


def remove() -> Path | None:
    """Delete the file that :func:`install` has written, and its compiled form.

    Returns:
        the file; None: there was none.

    Raises:
        UsageError: it cannot be deleted.
    """
    place = look()
    if place.folder is None or not is_ours(place.file):
        return None
    try:
        Path(importlib.util.cache_from_source(str(place.file))).unlink(missing_ok=True)
        place.file.unlink()
    except OSError as error:
        raise UsageError(f'{place.file} cannot be deleted: {error.strerror or error}') from error
    if place.state == 'left':  # pip kept the folder because of this file
        for folder in (place.folder / '__pycache__', place.folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return place.file
