"""Runs one of MMDetection's own tools, with mmcnn's operators where mmcv has none.

What follows the name of the tool is the tool's own: mmcnn run mmdet-tool TOOL --help describes it. Its configs are
files; one that comes with a package may be named by it (mmdet::retinanet/retinanet_r50_fpn_1x_coco, mmcnn::yolov5_s).

  mmcnn run mmdet-tool                                     lists the tools
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
    """The arguments of ``mmcnn run``."""
    parser.usage = '%(prog)s mmdet-tool [TOOL [ARGUMENT ...]]'
    parser.add_argument('kind', metavar=KIND, help='whose tool: MMDetection')
    parser.add_argument('tool', nargs='?', metavar='TOOL', help='its name, such as browse_dataset; none: list them')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='ARGUMENT', help="the tool's own")


def run(args: argparse.Namespace) -> int:
    """Runs it; its own exit code ends the process.

    Raises:
        UsageError: there is no such tool.
    """
    if args.kind != KIND:
        given = ' '.join([args.kind, *([args.tool] if args.tool else ()), *args.arguments])
        raise UsageError(f"run has {KIND} only, not '{args.kind}': mmcnn run {KIND} {given}")
    if args.tool is None:
        print('\n'.join(tools()))
        return 0
    run_tool(args.tool, args.arguments)
    return 0
