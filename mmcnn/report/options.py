"""What ``mmcnn report`` can be told; nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcnn.runs.options import ImportOptions, Option


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ImportOptions):
    """A report of one training run.

    Attributes:
        work_dir: the folder of the run.
    """

    work_dir: str | Path
    data: Annotated[
        str | Path | None, Option("another data folder to validate on (default: the run's own)", 'demo|PATH')
    ] = None
    checkpoint: Annotated[
        str | Path | None, Option('which checkpoint is looked at (default: best.pth, else the last one)', 'FILE')
    ] = None
    out: Annotated[
        str | Path | None, Option('folder for report.html and report.json (default: the folder of the run)', 'DIR')
    ] = None
    score_thr: Annotated[
        float | None,
        Option(
            'lowest score of a detection that errors are counted of (default: where F1 is best on val)',
            'S',
            minimum=0,
            maximum=1,
        ),
    ] = None
    images: Annotated[int, Option('images to show, those with most errors (default: 12)', 'N', minimum=0)] = 12
    device: Annotated[
        str | int | None,
        Option('cpu, cuda, or cuda:N or N for one of several (default: a GPU if there is one)', 'DEVICE'),
    ] = None
