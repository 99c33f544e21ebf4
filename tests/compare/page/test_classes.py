"""Tables of AP by size and class."""

import re
import statistics

from mmcnn.compare.page.classes import classes_section
from mmcnn.compare.page.numbers import Numbers


def test_means_spreads_and_shades(small):
    comparison = small(2)
    body = str(classes_section(Numbers(comparison)).body)
    values = [run.metrics['bbox_AP/Platelets'] for run in comparison.candidates[0].runs]
    text = f'{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}'
    cell = re.search(rf'<td[^>]*--heat: ([\d.]+)"[^>]*>{text}</td>', body)
    means = [
        statistics.fmean(run.metrics[f'bbox_AP/{name}'] for run in each.runs)
        for each in comparison.candidates
        for name in ('RBC', 'WBC', 'Platelets')
    ]
    assert float(cell[1]) == round(statistics.fmean(values) / max(means), 3)  # the bar starts at 0
    assert re.findall(r'<button type="button">(AP[^<]*)</button>', body) == [
        'AP', 'AP50', 'AP75', 'AP small', 'AP medium', 'AP large',
    ]  # fmt: skip
    assert body.count('<td class="number" data-sort="">-</td>') == 2  # the data has no small objects


def test_a_class_is_called_as_it_is(small):
    body = str(classes_section(Numbers(small(1, classes=('<script>', 'a/b')))).body)
    assert '<button type="button">&lt;script&gt;</button>' in body
    assert '<button type="button">a/b</button>' in body
