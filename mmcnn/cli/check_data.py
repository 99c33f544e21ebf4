"""Checks a data folder as a training does, and reports its faults by kind, with file and id.

PATH is laid out as for mmcnn train --data: COCO, COCO 2017, YOLO or VOC, or the folders of a classifier. Nothing is
written to it. With --plot, an image shows the boxes of each class, box sizes, aspect ratios and the recall of a
config's anchors. The exit code is 1 if there are errors.
"""

from __future__ import annotations

import argparse

from mmcnn.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn check-data``."""
    parser.add_argument('path', metavar='demo|PATH')
    parser.add_argument('--plot', '--out', dest='plot', metavar='PNG', help='draw what is in the data to this file')
    parser.add_argument('--config', default='yolov5_s', help='whose anchors --plot measures (default: yolov5_s)')
    parser.add_argument(
        '--img-size', type=int, default=640, metavar='N', help='side of the network input for --plot (default: 640)'
    )
    parser.add_argument('--show', type=int, default=5, metavar='N', help='findings to list of each kind (default: 5)')


def run(args: argparse.Namespace) -> int:
    """Checks; 1 if there are errors."""
    for name, minimum in (('img_size', 1), ('show', 0)):
        if getattr(args, name) < minimum:
            raise UsageError(f'{name}={getattr(args, name)}: the value must be at least {minimum}')

    from mmcnn.datasets.data_report import DataReport
    from mmcnn.runs.api import check_data

    report = check_data(args.path)
    print(report.text(args.show))
    if args.plot is not None:
        if not isinstance(report, DataReport) or report.of('fatal'):
            raise UsageError(f'--plot {args.plot}: only boxes that can be read are drawn')
        _plot(report, args)
    return 0 if report.ok else 1


def _plot(report, args: argparse.Namespace) -> None:
    from mmcnn import data_picture
    from mmcnn.datasets.anchors import anchors_of
    from mmcnn.runs.configs import load_config

    cocos = {part.name: kept for part, kept in zip(report.parts, report.kept, strict=True)}
    recall = data_picture.plot_data(cocos, anchors_of(load_config(args.config).model), args.img_size, args.plot)
    if recall is not None:
        print(f'best possible recall of the anchors of {args.config} at {args.img_size} px: {recall:.4f}')
    print(f'drawn: {args.plot}')
