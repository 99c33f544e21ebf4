"""``mmcv/_ext.py``: mmcnn's operators in place of mmcv's compiled ones, for programs that never import mmcnn.

``import mmcnn`` puts the stand-in of :mod:`mmcnn.compat.mmcv_ext` in place for one process. MMDetection's own tools and
``mmdet.apis`` import mmcv's operators before they read a config that could import mmcnn, so that they end with ``No
module named 'mmcv._ext'`` (mmcv issue 2059). A small file in mmcv's folder, which is read only when the operators are
imported, imports mmcnn there. Python takes a compiled extension before it, so that a compiled mmcv that is installed
later wins; and it is none of mmcv's own files, so that it outlives a reinstallation of mmcv.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

from mmcnn.errors import DependencyError, UsageError

#: What the file begins with, by which it is known.
MARK = '# Written by `mmcnn compat install`; `mmcnn compat remove` deletes it.'
CONTENT = f'''{MARK}
"""mmcnn's operators in the place of mmcv's compiled ones, which this mmcv does not have."""

try:
    import mmcnn
    from mmcnn.compat import mmcv_ext
except ImportError as error:
    raise ImportError(
        f"mmcv's operators are to come from mmcnn, which cannot be imported ({{error}}): install mmcnn for this "
        f'Python, or delete {{__file__}}'
    ) from error
import sys

mmcv_ext.fill(sys.modules[__name__])
'''
_NAME = '_ext'


@dataclass(frozen=True)
class Place:
    """Where mmcv is installed and what is there for its operators.

    Attributes:
        folder: of mmcv; None: it is not installed.
        state: 'missing': no mmcv; 'left': mmcv is gone and our file is still there; 'compiled': mmcv has operators, or
            another program's file for them; 'none': it has none; 'ours': our file; 'other release': our file, which
            another release of mmcnn has written.
        found: the file that is there for the operators, if any.
    """

    folder: Path | None
    state: str
    found: Path | None

    @property
    def file(self) -> Path:
        """Our file, whether it is there or not."""
        return self.folder / f'{_NAME}.py'


def look() -> Place:
    """Look for the extension without importing mmcv."""
    spec = PathFinder.find_spec('mmcv') or importlib.util.find_spec('mmcv')
    if spec is None or not spec.submodule_search_locations:
        return Place(None, 'missing', None)
    folders = [Path(each) for each in spec.submodule_search_locations]
    folder, ours = folders[0], [each / f'{_NAME}.py' for each in folders if is_ours(each / f'{_NAME}.py')]
    if spec.origin is None:  # a folder that pip has left
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
    """Return whether a file is one that :func:`install` has written."""
    try:
        return path.is_file() and path.read_text(encoding='utf-8').startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def install() -> Path:
    """Write the file, or write it anew where another release of mmcnn has written it.

    Returns:
        the file.

    Raises:
        DependencyError: mmcv is not installed.
        UsageError: it has compiled operators, or its folder cannot be written to.
    """
    place = look()
    if place.state in ('missing', 'left'):
        left = f' ({place.found} is left of an earlier one)' if place.found else ''
        raise DependencyError(f'mmcv is not installed{left}: run `pip install "mmcnn[lite]"`, then this again')
    if place.state == 'compiled':
        raise UsageError(
            f'this mmcv has operators of its own, {place.found}: there is nothing to stand in for; nothing was written'
        )
    unfinished = place.file.with_name(f'{_NAME}.py.{os.getpid()}')
    try:
        unfinished.write_text(CONTENT, encoding='utf-8')
        unfinished.replace(place.file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UsageError(
            f'{place.file} cannot be written: {error.strerror or error}; `mmcnn run mmdet-tool` and a line `import '
            'mmcnn` in a program of your own need no file'
        ) from error
    return place.file


def remove() -> Path | None:
    """Delete the file that :func:`install` has written, and what Python has compiled of it.

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
    if place.state == 'left':  # pip kept the folder for this file's sake
        for folder in (place.folder / '__pycache__', place.folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return place.file
