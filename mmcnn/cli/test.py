"""Evaluates a checkpoint on the validation images.

Prints the 12 COCO numbers and the AP of each class, or the top-1 and top-5 accuracy of a classifier, and stores them in
metrics.json. Config, backbone and classes come from the checkpoint, or from published weights (yolov5s.pt,
yolov4.weights, ... as in mmcnn infer --help). With CONFIG, CHECKPOINT may be any weights that fit the config.
CHECKPOINT may also be a file that mmcnn export has written, .onnx or .xml; it needs --data.

  mmcnn test work_dirs/RUN/best.pth
  mmcnn test yolov5s.pt --data PATH
  mmcnn test yolov5s.onnx --data PATH
  mmcnn test yolov3_darknet53 yolov3.weights --data PATH
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_config, add_options, options_from
from mmcnn.runs.options import TestOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn test``."""
    add_config(parser, nargs='?')
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    add_options(parser, TestOptions)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Evaluate the checkpoint."""
    options = options_from(args, TestOptions, config=args.config, checkpoint=args.checkpoint)

    from mmcnn.runs.api import run_test

    run_test(options)
    return 0
