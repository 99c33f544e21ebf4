"""Lists the configs that come with mmcnn, each with its purpose.

  mmcnn configs                     list all configs
  mmcnn configs 'yolov4*'           list those with a matching name
  mmcnn configs yolov5_s --path     print the path of the file, to read it or to use it as _base_ of your own config

mmcnn train and the other commands take these names as CONFIG; those of classifiers begin with classification/.
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
    """Add the arguments of ``mmcnn configs``."""
    parser.add_argument(
        'pattern', nargs='?', default='*', metavar='GLOB', help='list only configs with a matching name'
    )
    parser.add_argument('--path', action='store_true', help='print the paths of the files instead')


def run(args: argparse.Namespace) -> int:
    """Print a line for each config.

    Raises:
        UsageError: no name matches.
    """
    configs = own_configs()
    # 'resnet*' also matches classification/resnet50.
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
