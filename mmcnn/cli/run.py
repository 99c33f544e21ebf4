"""Runs one of MMDetection's own tools, with mmcnn's operators if mmcv has none.

Arguments after the name of the tool are passed to it: mmcnn run mmdet-tool TOOL --help describes them. Configs are
files, or names of configs in a package (mmdet::retinanet/retinanet_r50_fpn_1x_coco, mmcnn::yolov5_s).

  mmcnn run mmdet-tool                                     list the tools
  mmcnn run mmdet-tool print_config mmcnn::yolov5_s
  mmcnn run mmdet-tool browse_dataset CONFIG --not-show --output-dir drawn
  mmcnn run mmdet-tool test CONFIG CHECKPOINT --out found.pkl
"""

from __future__ import annotations

import argparse

from mmcnn.compat.mmdet_tools import run_tool, tools
from mmcnn.errors import UsageError

KIND = 'mmdet-tool'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn run``."""
    parser.usage = '%(prog)s mmdet-tool [TOOL [ARGUMENT ...]]'
    parser.add_argument('kind', metavar=KIND, help="kind of tool; only MMDetection's are available")
    parser.add_argument(
        'tool', nargs='?', metavar='TOOL', help='name of the tool, such as browse_dataset (default: list the tools)'
    )
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='ARGUMENT', help='arguments of the tool')


def run(args: argparse.Namespace) -> int:
    """Run the tool; its exit code ends the process.

    Raises:
        UsageError: there is no such tool.
    """
    if args.kind != KIND:
        given = ' '.join([args.kind, *([args.tool] if args.tool else ()), *args.arguments])
        raise UsageError(f"run only has {KIND}, not '{args.kind}': use mmcnn run {KIND} {given}")
    if args.tool is None:
        print('\n'.join(tools()))
        return 0
    run_tool(args.tool, args.arguments)
    return 0
