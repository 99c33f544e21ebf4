"""Trains a detector or a classifier.

CONFIG is the path of a config file or the name of a config that comes with mmcnn (mmcnn configs lists them). A config
is a program: loading one runs it, so only use configs from people you trust.

  mmcnn train yolov4_cspdarknet53_narrow --data demo
  mmcnn train yolov4_cspdarknet53 --data PATH --backbone vovnet39 --epochs 50
  mmcnn train yolov5_s --data PATH --weights yolov5s.pt
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_config, add_options, options_from
from mmcnn.runs.options import TrainOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn train``."""
    add_config(parser)
    add_options(parser, TrainOptions)
    # torch.distributed.launch passes this option; torchrun sets environment variables instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Trains."""
    options = options_from(args, TrainOptions, config=args.config)

    from mmcnn.runs.api import run_training

    run_training(options)
    return 0
