"""Lists the configs that come with mmcnn, each with what it is for.

  mmcnn configs                     all of them
  mmcnn configs 'yolov4*'           those whose name matches
  mmcnn configs yolov5_s --path     where the file is, to read it or to name it in _base_ of a config of your own

The names are what mmcnn train and the other commands take as CONFIG; those of classifiers begin with classification/.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase

from mmcnn.compat.moved import moved_names
from mmcnn.config.files import own_configs, summary
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

__getattr__ = moved_names(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``mmcnn configs``."""
    parser.add_argument('pattern', nargs='?', default='*', metavar='GLOB', help='only configs whose name matches')
    parser.add_argument('--path', action='store_true', help='print the paths of the files instead')


def run(args: argparse.Namespace) -> int:
    """Prints a line for each config.

    Raises:
        UsageError: no name matches.
    """
    configs = own_configs()
    # 'resnet*' means classification/resnet50, too.
    found = {
        name: path
        for name, path in configs.items()
        if fnmatchcase(name, args.pattern) or fnmatchcase(path.stem, args.pattern)
    }
    if not found:
        raise UsageError(
            f"no config that comes with mmcnn is called '{args.pattern}'; {nearest(args.pattern, configs)}"
        )
    width = max(map(len, found))
    for name, path in found.items():
        print(path if args.path else f'{name:{width}}  {summary(path)}'.rstrip())
    return 0
