"""AP of small, medium and large objects and of each class."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from markupsafe import Markup

from mmcnn.compare.page.numbers import Numbers, mean_and_spread, metric
from mmcnn.compare.results import AP, AP50
from mmcnn.pages.page import Section, heading, paragraph
from mmcnn.pages.tables import Cell, Column, Row, table

_CLASS = 'bbox_AP/'
_ALL = {
    AP: 'AP', AP50: 'AP50', 'bbox_mAP_75': 'AP75', 'bbox_mAP_s': 'AP small', 'bbox_mAP_m': 'AP medium',
    'bbox_mAP_l': 'AP large',
}  # fmt: skip


def classes_section(numbers: Numbers) -> Section:
    """Return both tables."""
    found = {key: None for each in numbers.comparison.candidates for run in each.runs for key in run.metrics}
    classes = {key: key.removeprefix(_CLASS) for key in found if key.startswith(_CLASS)}
    parts = [
        paragraph(
            'Means and standard deviations over the finished seeds. These differences have no simultaneous intervals: '
            'they show where to look, not what is certain.',
            'quiet',
        ),
        heading('By object size'),
        _table(numbers, 'table-sizes', 'AP of all objects and by size (COCO: small below 32², medium below 96² pixels)',
               {key: label for key, label in _ALL.items() if key in found}),
    ]  # fmt: skip
    if classes:
        parts += [heading('By class'), _table(numbers, 'table-classes', 'AP of each class', classes)]
    return Section('classes', 'AP by size and class', Markup('\n').join(parts))


def _table(numbers: Numbers, name: str, caption: str, columns: Mapping[str, str]) -> Markup:
    values = {
        (i, key): [value for run in candidate.runs if (value := metric(run, key)) is not None]
        for i, candidate in enumerate(numbers.comparison.candidates)
        for key in columns
    }
    means = {place: statistics.fmean(found) for place, found in values.items() if found}
    # Shades begin at 0, so that small differences look small.
    highest = max(means.values(), default=0.0) or 1.0
    rows = [
        Row([
            candidate.name,
            *(
                Cell(mean_and_spread(values[i, key]), means.get((i, key), math.nan),
                     means[i, key] / highest if (i, key) in means else None)
                for key in columns
            ),
        ])
        for i, candidate in enumerate(numbers.comparison.candidates)
    ]  # fmt: skip
    heads = [Column('candidate'), *(Column(label, True) for label in columns.values())]
    return table(name, f'{caption}; shades from 0 to {highest:.3f}', heads, rows)
