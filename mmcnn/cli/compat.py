"""Lets programs that never import mmcnn run beside mmcv-lite, which has no compiled operators.

MMDetection's own tools and mmdet.apis (init_detector, DetInferencer) end with "No module named 'mmcv._ext'" there,
unless mmcnn is imported first. One small file in mmcv's folder makes mmcnn's operators take their place:

  mmcnn compat status      whether it is needed, and whether it is there
  mmcnn compat install     writes it; a mmcv with compiled operators is left alone
  mmcnn compat remove      deletes it

It is read only when mmcv's operators are imported. It stays when mmcv is installed anew; where mmcnn is gone, it says
so. mmcnn run mmdet-tool needs no file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmcnn.compat import extension_file
from mmcnn.compat.extension_file import Place

PACKAGE = Path(__file__).resolve().parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn compat``."""
    parser.add_argument('what', choices=['install', 'remove', 'status'])


def run(args: argparse.Namespace) -> int:
    """Installs, removes or looks."""
    print(dict(install=_install, remove=_remove, status=_status)[args.what]())
    return 0


def _install() -> str:
    return f'{extension_file.install()}: written; mmcv has the operators of mmcnn in {PACKAGE}'


def _remove() -> str:
    file = extension_file.remove()
    return 'there is no file of mmcnn in the folder of mmcv' if file is None else f'{file}: deleted'


def _status() -> str:
    place = extension_file.look()
    return _WORDS[place.state](place)


_WORDS = {
    'missing': lambda place: 'mmcv is not installed: pip install "mmcnn[lite]"',
    'left': lambda place: (
        f'mmcv is not installed any more, and {place.found} is left of `mmcnn compat install`: mmcnn compat remove '
        'deletes it'
    ),
    'compiled': lambda place: f'{place.folder} has operators of its own, {_name(place)}: nothing to do',
    'none': lambda place: (
        f"{place.folder} has no operators: MMDetection's own programs end with \"No module named 'mmcv._ext'\" unless "
        'they import mmcnn; mmcnn compat install changes that'
    ),
    'ours': lambda place: f'{place.found} is there: mmcv has the operators of mmcnn in {PACKAGE}',
    'other release': lambda place: (
        f'{place.found} is there, written by another release of mmcnn: mmcnn compat install writes it anew'
    ),
}


def _name(place: Place) -> str:
    return place.found.name
