"""MMDetection's own tools (``mmdet/.mim/tools``), found by name and run in a process where mmcnn has been imported.

Run by path with mmcv-lite, they fail with ``No module named 'mmcv._ext'`` (mmdetection issue 11475).
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from mmcnn.compat import requirements
from mmcnn.compat.packaged_configs import is_packaged, package_folder, packaged_config
from mmcnn.errors import DependencyError, UsageError
from mmcnn.nearest import nearest


def tools() -> dict[str, Path]:
    """Return all tools by their paths below the folder, without ``.py``, outer first: ``analysis_tools/get_flops``.

    Raises:
        DependencyError: MMDetection is not installed, or does not contain its tools.
    """
    package = package_folder('mmdet')
    if package is None:
        raise DependencyError('MMDetection is not installed: pip install mmdet')
    folder = next((each for each in (package / '.mim' / 'tools', package.parent / 'tools') if each.is_dir()), None)
    if folder is None:
        raise DependencyError(f'{package} has no tools: looked in {package / ".mim" / "tools"}')
    paths = sorted(folder.rglob('*.py'), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix('').as_posix(): path for path in paths}


def find_tool(name: str) -> Path:
    """Return a tool by name; if several have it, the one in the fewest folders, the others by their paths.

    Args:
        name: ``browse_dataset``, ``analysis_tools/mot/browse_dataset``, optionally with ``tools/`` before it and
            ``.py`` after it.

    Raises:
        UsageError: there is none; the message lists the nearest.
        DependencyError: see :func:`tools`.
    """
    known = tools()
    wanted = name.removeprefix('tools/').removesuffix('.py')
    found = [known[each] for each in known if each == wanted or each.endswith(f'/{wanted}')]
    if not found:
        names = {each.rpartition('/')[2]: None for each in known}
        raise UsageError(
            f"MMDetection has no tool '{name}'; {nearest(wanted, names)} (mmcnn run mmdet-tool lists all {len(known)})"
        )
    return found[0]


def run_tool(name: str, arguments: Sequence[str]) -> None:
    """Run a tool in this process, like ``python PATH ARGUMENTS``; its exceptions are passed on.

    A config given by package, ``mmdet::retinanet/retinanet_r50_fpn_1x_coco``, is passed to the tool as a path, which it
    can read.

    Raises:
        UsageError: there is no such tool or config, or the tool is for other heads than the config's.
        DependencyError: see :func:`tools`.
    """
    requirements.check()
    path = find_tool(name)
    arguments = [str(packaged_config(each)) if is_packaged(each) else each for each in arguments]
    before = sys.argv, sys.path[:]
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    try:
        runpy.run_path(str(path), run_name='__main__')
    except AttributeError as error:
        if path.stem == 'optimize_anchors' and 'anchor_generator' in str(error):
            raise UsageError(
                "optimize_anchors reads model.bbox_head.anchor_generator, which MMDetection's YOLOV3Head has but the "
                'head of this config does not: use mmcnn anchors for our heads'
            ) from error
        raise
    finally:
        sys.argv, sys.path[:] = before
