"""The options of ``mmcnn report``; nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.runs.options import ImportOptions, Option

#: What the worst images have most of.
WORST = ERRORS, LOSS = 'errors', 'loss'


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ImportOptions):
    """A report of one training run.

    Attributes:
        work_dir: the folder of the run.
    """

    work_dir: str | Path
    data: Annotated[
        str | Path | None, Option('folder of other data to validate on (default: the data of the run)', 'demo|PATH')
    ] = None
    checkpoint: Annotated[
        str | Path | None, Option('checkpoint to analyse (default: best.pth, else the last one)', 'FILE')
    ] = None
    out: Annotated[
        str | Path | None, Option('folder for report.html and report.json (default: the folder of the run)', 'DIR')
    ] = None
    score_thr: Annotated[
        float | None,
        Option(
            'minimum score of the detections whose errors are counted (default: where F1 is best on val)',
            'S',
            minimum=0,
            maximum=1,
        ),
    ] = None
    images: Annotated[int, Option('number of images to show, the worst first (default: 12)', 'N', minimum=0)] = 12
    worst: Annotated[
        str,
        Option(
            'which images are the worst: those with the most errors (default), or those with the highest loss, which '
            'the network computes for all validation images',
            choices=WORST,
        ),
    ] = ERRORS
    device: Annotated[
        str | int | None,
        Option('cpu, cuda, or cuda:N or N for one of several (default: a GPU if available)', 'DEVICE'),
    ] = None
