"""Explains the AP of a training run on a page: report.html and report.json in its folder.

The page says in sentences what the numbers carry, and shows curves, AP of each class and size, precision and recall,
the confusion matrix, errors by kind with the AP that they cost, the images with most errors, and annotations that may
be wrong. It is one file and needs no network. The run's checkpoint detects on its validation images, unless the
training has kept its detections (detections.npz).

  mmcnn report work_dirs/RUN
  mmcnn report work_dirs/RUN --checkpoint last.pth --images 24 --out reports/RUN
  mmcnn report work_dirs/RUN --worst loss
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.report.options import ReportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``mmcnn report``."""
    parser.add_argument('work_dir', metavar='WORK_DIR', help='the work dir of a training of a detector')
    add_options(parser, ReportOptions)


def run(args: argparse.Namespace) -> int:
    """Makes the report, and prints its findings."""
    options = options_from(args, ReportOptions, work_dir=args.work_dir)

    from mmcnn.report.report import make_report

    analysis, page = make_report(options)
    print('\n'.join(f'- {each}' for each in analysis.findings or ['No rule finds anything to say.']))
    print(f'{page} and report.json')
    return 0
