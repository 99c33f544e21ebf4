"""Trains several backbones in one detector at the same budget, and reports which differences the data support.

mmcnn train trains each of them in a separate process, in DIR/BACKBONE/seed_S/. All use the same seeds, and thus the
same order and augmentation. DIR gets comparison.html, .json, .csv, .md and .png. Finished runs are not repeated, and
interrupted ones are continued. The exit code is 1 if a run failed.

  mmcnn compare yolov4_cspdarknet53_narrow --data PATH --epochs 30 --backbone mobilenetv2,vovnet39 --seeds 3
  mmcnn compare yolov5_n --data PATH --epochs 50 --backbone vovnet39,resnet50-tv,xception --macs 0.4G --budget 2h
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_config, add_options, options_from
from mmcnn.compare.options import CompareOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn compare``."""
    add_config(parser)
    parser.add_argument(
        '--backbone', dest='backbones', action='append', required=True, metavar='NAME',
        help='backbone to compare; may be repeated or a list separated by commas',
    )  # fmt: skip
    add_options(parser, CompareOptions, leave_out=('backbone',))


def run(args: argparse.Namespace) -> int:
    """Compare; return 1 if a run failed."""
    options = options_from(args, CompareOptions, config=args.config, backbones=args.backbones)

    from mmcnn.compare.api import compare
    from mmcnn.compare.table import as_markdown

    found, folder = compare(options)
    print(f'{as_markdown(found)}\n\ncomparison.html, .json, .csv and .md are in {folder}')
    return 1 if any(run.failure for each in found.candidates if not each.dropped for run in each.runs) else 0
