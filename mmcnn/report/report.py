"""``mmcnn report``: from a work dir to report.html and report.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmcnn.pages.page import write_page
from mmcnn.report.analysis import Analysis
from mmcnn.report.options import ReportOptions
from mmcnn.report.page import sections_of
from mmcnn.report.run_data import read_run
from mmcnn.weights.own_modules import import_modules


def make_report(options: ReportOptions) -> tuple[Analysis, Path]:
    """Write the report of a run.

    Returns:
        The analysis, and the page; report.json is next to it.

    Raises:
        UsageError: the folder has no training run of a detector, or no checkpoint.
        DataError: the data cannot be used.
        CheckpointError: the checkpoint cannot be used.
    """
    import_modules(options.imports)
    analysis = Analysis(read_run(options), options.score_thr)
    folder = Path(options.out or options.work_dir)
    text = json.dumps(plain(analysis.as_json()), indent=1, ensure_ascii=False)
    page = folder / 'report.html'
    title = f'Report of {Path(options.work_dir).resolve().name}'
    write_page(page, title, sections_of(analysis, options.images), {'report.json': text})
    (folder / 'report.json').write_text(f'{text}\n', encoding='utf-8')
    return analysis, page


def plain(value: Any) -> Any:
    """Return a value that JSON supports: NaN as null."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
