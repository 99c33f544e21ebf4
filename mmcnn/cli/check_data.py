"""Checks a data folder in the same way as training does, and reports its faults by kind, with file and id.

PATH has a layout that mmcnn train --data reads: COCO, COCO 2017, YOLO or VOC, or the folders of a classifier. It is
not written to. With --plot, a figure shows boxes of each class, box sizes, aspect ratios and the recall of a config's
anchors. The exit code is 1 if there are errors.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Annotated

from mmcnn.cli.arguments import add_options, check_png, options_from
from mmcnn.runs.options import ImportOptions, Option, SplitOptions


@dataclass(frozen=True, kw_only=True)
class CheckOptions(SplitOptions, ImportOptions):
    """What to show of the data."""

    config: Annotated[str, Option('config with the anchors that --plot measures (default: yolov5_s)', 'CONFIG')] = (
        'yolov5_s'
    )
    img_size: Annotated[
        int, Option('side of the network input for --plot, in pixels (default: 640)', 'N', minimum=1)
    ] = 640
    show: Annotated[int, Option('number of findings to list for each kind (default: 5)', 'N', minimum=0)] = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn check-data``."""
    parser.add_argument('path', metavar='demo|PATH')
    parser.add_argument('--plot', '--out', dest='plot', metavar='PNG', help='draw a figure of the data to this file')
    add_options(parser, CheckOptions)


def run(args: argparse.Namespace) -> int:
    """Check the data; return 1 if there are errors or the requested figure cannot be drawn."""
    options = options_from(args, CheckOptions)
    check_png(args.plot)

    from mmcnn.datasets.check.report import DataReport
    from mmcnn.runs.api import check_data
    from mmcnn.weights.own_modules import import_modules

    import_modules(options.imports)
    report = check_data(args.path, val_fraction=options.val_fraction, split_seed=options.split_seed)
    is_drawn = args.plot is not None and isinstance(report, DataReport) and not report.of('fatal')
    if args.plot is not None and not is_drawn:  # before the report, which ends with the cause
        print(f'--plot {args.plot}: no figure was drawn, because no boxes can be read')
    print(report.text(options.show))
    if is_drawn:
        _plot(report, options, args.plot)
    return 0 if report.ok and (args.plot is None or is_drawn) else 1


def _plot(report, options: CheckOptions, file: str) -> None:
    from mmcnn.config.load import load_config
    from mmcnn.datasets.anchors import anchors_of, box_sizes, within_reach
    from mmcnn.plots.data import plot_data
    from mmcnn.plots.fonts import say_what_is_missing

    say_what_is_missing(report.classes, say=print)
    cocos = {split.name: kept for split, kept in zip(report.splits, report.kept, strict=True)}
    sizes = {split: box_sizes(coco, options.img_size) for split, coco in cocos.items()}
    anchors = anchors_of(load_config(options.config).model)
    reached = None if anchors is None else within_reach(sizes['train'], anchors)
    plot_data(cocos, sizes, options.img_size, file, anchors, reached)
    if reached is not None:
        print(f'best possible recall of the anchors of {options.config} at {options.img_size} px: {reached.mean():.4f}')
    print(f'figure: {file}')
