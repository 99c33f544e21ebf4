"""Explains the AP of a training run on a page: report.html and report.json in its folder.

The page states in sentences what the numbers support, and shows curves, AP of each class and size, precision and
recall, the confusion matrix, errors by kind with the AP that they cost, the images with most errors, and annotations
that may be wrong. It is one file and needs no network. The run's checkpoint detects objects in its validation images
unless the training has stored its detections (detections.npz).

  mmcnn report work_dirs/RUN
  mmcnn report work_dirs/RUN --checkpoint last.pth --images 24 --out reports/RUN
  mmcnn report work_dirs/RUN --worst loss
"""

from __future__ import annotations

import argparse

from mmcnn.cli.arguments import add_options, options_from
from mmcnn.report.options import ReportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmcnn report``."""
    parser.add_argument('work_dir', metavar='WORK_DIR', help="work dir of a detector's training")
    add_options(parser, ReportOptions)


def run(args: argparse.Namespace) -> int:
    """Write the report and print its findings."""
    options = options_from(args, ReportOptions, work_dir=args.work_dir)

    from mmcnn.report.report import make_report

    analysis, page = make_report(options)
    print('\n'.join(f'- {each}' for each in analysis.findings or ['There are no findings.']))
    print(f'{page} and report.json')
    return 0
