"""Lets programs that never import mmcnn run with mmcv-lite, which has no compiled operators.

There, MMDetection's own tools and mmdet.apis (init_detector, DetInferencer) fail with "No module named 'mmcv._ext'"
unless mmcnn is imported first. One small file in mmcv's folder provides mmcnn's operators instead:

  mmcnn compat status      show whether the file is needed and present
  mmcnn compat install     write it, unless mmcv has compiled operators
  mmcnn compat remove      delete it

The file is read only when mmcv's operators are imported. It survives a reinstallation of mmcv and prints a message if
mmcnn is no longer installed. mmcnn run mmdet-tool does not need it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmcnn.compat import extension_file
from mmcnn.compat.extension_file import Place

PACKAGE = Path(__file__).resolve().parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn compat``."""
    parser.add_argument('what', choices=['install', 'remove', 'status'])


def run(args: argparse.Namespace) -> int:
    """Install or remove the file, or show its status."""
    print(dict(install=_install, remove=_remove, status=_status)[args.what]())
    return 0


def _install() -> str:
    return f'{extension_file.install()}: written; mmcv now uses the operators of mmcnn in {PACKAGE}'


def _remove() -> str:
    file = extension_file.remove()
    return "mmcv's folder has no file of mmcnn" if file is None else f'{file}: deleted'


def _status() -> str:
    place = extension_file.look()
    return _WORDS[place.state](place)


_WORDS = {
    'missing': lambda place: 'mmcv is not installed: pip install "mmcnn[lite]"',
    'left': lambda place: (
        f'mmcv is no longer installed, but {place.found} is left of `mmcnn compat install`; to delete it, run '
        'mmcnn compat remove'
    ),
    'compiled': lambda place: f'{place.folder} has compiled operators, {_name(place)}: there is nothing to do',
    'none': lambda place: (
        f"{place.folder} has no operators: MMDetection's own programs fail with \"No module named 'mmcv._ext'\" unless "
        'they import mmcnn; mmcnn compat install fixes that'
    ),
    'ours': lambda place: f'{place.found} is installed: mmcv uses the operators of mmcnn in {PACKAGE}',
    'other release': lambda place: (
        f'{place.found} was written by another release of mmcnn; mmcnn compat install updates it'
    ),
}


def _name(place: Place) -> str:
    return place.found.name
