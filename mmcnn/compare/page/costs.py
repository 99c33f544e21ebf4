"""AP against costs: a figure for each cost, and a table of both."""

from __future__ import annotations

import math
import statistics

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from mmcnn.compare.page.numbers import Numbers, in_words, mean_and_spread, metric, quantity, scale, scores
from mmcnn.compare.results import AP, COSTS, CandidateResult
from mmcnn.console.layout import shortened
from mmcnn.pages.figures import choice, colour_of, drawing, marker_of, score_limits
from mmcnn.pages.page import Section, bullets, paragraph
from mmcnn.pages.tables import Cell, Column, Row, table
from mmcnn.plots.style import place_labels, plain_log_ticks

#: Minimum ratio of the limits of a cost axis, so that 10 % does not look like a large difference.
_LEAST_RATIO = 2.0
#: Offset of single runs from their mean, points.
_BESIDE = -7


def costs_section(numbers: Numbers) -> Section:
    """Return AP against each measured cost, and a table of all costs."""
    comparison = numbers.comparison
    figures = [(label, _figure(numbers, key, label)) for key, label in COSTS.items() if _points(numbers, key)]
    parts = (
        [choice('AP against', figures)] if figures else [paragraph('No cost was measured for a candidate with an AP.')]
    )
    parts.append(_table(numbers))
    how = {}
    for candidate in comparison.candidates:
        for key, cost in candidate.costs.items():
            if key in COSTS and cost.how:
                how.setdefault((key, cost.how), []).append(candidate.name)
    lines = []
    for (key, text), names in how.items():
        of = '' if len(names) == len(comparison.candidates) else f' ({", ".join(names)})'
        lines.append(f'{COSTS[key][0].upper()}{COSTS[key][1:]}{of}: {text}')
    return Section('costs', 'AP and costs', Markup('\n').join([*parts, bullets(lines)]))


def _points(numbers: Numbers, key: str) -> list[tuple[CandidateResult, float]]:
    """Return the candidates with an AP and this cost; a logarithmic axis cannot show 0."""
    found = [(each, each.costs[key].value) for each in numbers.measured if key in each.costs]
    return [(each, value) for each, value in found if value is not None and value > 0]


def _figure(numbers: Numbers, key: str, label: str) -> Markup:
    points = _points(numbers, key)
    unit = points[0][0].costs[key].unit
    divisor, name = scale(max(value for _, value in points), unit)
    values, labels, markers, singles = [], [], [], []
    with drawing(f'cost-{key.replace("_", "-")}') as made:
        axes = made.figure.subplots()
        axes.set_xscale('log')
        beside = axes.transData + ScaledTranslation(_BESIDE / 72, 0, made.figure.dpi_scale_trans)
        for candidate, cost in points:
            series, x, mean = numbers.series(candidate.name), cost / divisor, numbers.means[candidate.name]
            colour, half = colour_of(series), numbers.own_half_widths.get(candidate.name)
            if half is not None:
                bar = axes.vlines(x, mean - half, mean + half, colors=colour, linewidth=2, alpha=0.75)
                made.mark(bar, series=series)
                values += [mean - half, mean + half]
                markers += [(x, y, 3.0) for y in np.linspace(mean - half, mean + half, 9)]
            for place, run in enumerate(candidate.runs):
                if (score := metric(run, AP)) is None:
                    continue
                dot = axes.plot([x], [score], 'o', color=colour, markersize=3.5, transform=beside)[0]
                tip = f'{candidate.name}, seed {in_words(run.block)}: AP {score:.3f}'
                made.mark(dot, series=series, tip=tip, link=f'#run-{series}-{place}')
                values.append(score)
                singles.append((x, score))
            point = axes.plot([x], [mean], marker_of(series), color=colour, markersize=8)[0]
            interval = '' if half is None else f', comparison interval {mean - half:.3f} to {mean + half:.3f}'
            tip = f'{candidate.name}: mean AP {mean:.3f}{interval}; {label} {quantity(cost, unit)}'
            made.mark(point, series=series, tip=tip, link=f'#candidate-{series}')
            values.append(mean)
            labels.append((shortened(candidate.name, 24), x, mean, 9.0))
            markers.append((x, mean, 4.0))
        axes.set(xlabel=f'{label}, {name}' if name else label, ylabel='AP', ylim=score_limits(values, numbers.widest))
        low, high = _cost_limits([cost / divisor for _, cost in points])
        axes.set_xlim(low, high)
        plain_log_ticks(axes.xaxis)
        if high < 5 * low:
            axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
        made.figure.canvas.draw()
        made.figure.set_layout_engine('none')  # fixed, since the positions of labels depend on it
        shifted = beside + axes.transData.inverted()
        markers += [(*shifted.transform(each), 2.0) for each in singles]
        place_labels(axes, labels, markers)
        of_label = {shortened(each.name, 24): numbers.series(each.name) for each, _ in points}
        for text in axes.texts:
            made.mark(text, series=of_label[text.get_text()])
    without = [each.name for each in numbers.measured if each not in [candidate for candidate, _ in points]]
    caption = _caption(numbers) + (f' Not measured for: {", ".join(without)}.' if without else '')
    alternative = f'AP against {label} of {len(points)} candidates; the table below has the numbers.'
    return made.html(alternative, caption, [each.name for each in numbers.comparison.candidates])


def _caption(numbers: Numbers) -> str:
    text = 'Markers are means, the small dots next to them single runs'
    if numbers.common_seeds and any(len(scores(each)) > len(numbers.common_seeds) for each in numbers.measured):
        seeds = ', '.join(map(in_words, numbers.common_seeds))
        text = text.replace('means', f'means over the seeds that all candidates have finished ({seeds})')
    if numbers.own_half_widths:
        return (
            f'{text}, and bars comparison intervals: candidates whose bars do not overlap are distinguishable; if they '
            'overlap, they may or may not be: see the table of pairs.'
        )
    return (
        f'{text}. There are no intervals, since these need at least two seeds: no difference in this figure is certain.'
    )


def _cost_limits(values: list[float]) -> tuple[float, float]:
    """Return the limits of a logarithmic axis around values above 0."""
    low, high = math.log(min(values)), math.log(max(values))
    span = max(1.16 * (high - low), math.log(_LEAST_RATIO))
    middle = (low + high) / 2
    return math.exp(middle - span / 2), math.exp(middle + span / 2)


def _table(numbers: Numbers) -> Markup:
    keys = [key for key in COSTS if any(key in each.costs for each in numbers.comparison.candidates)]
    rows = []
    for i, candidate in enumerate(numbers.comparison.candidates):
        own = list(scores(candidate).values())
        cells = [
            candidate.name, Cell(mean_and_spread(own), statistics.fmean(own) if own else math.nan),
            Cell(f'{len(own)} of {len(candidate.runs)}', len(own)),
        ]  # fmt: skip
        for key in keys:
            cost = candidate.costs.get(key)
            if cost is None or cost.value is None:
                cells.append(Cell('not measured', math.nan, kind='quiet'))
            else:
                cells.append(Cell(quantity(cost.value, cost.unit), cost.value))
        rows.append(Row(cells, f'candidate-{i}'))
    columns = [Column('candidate'), Column('AP', True, 'mean and standard deviation over the finished seeds'),
               Column('seeds', True, 'finished, of those started')]  # fmt: skip
    caption = 'AP (mean ± standard deviation of the finished seeds) and costs. The order of the means is not a ranking.'
    return table('table-costs', caption, [*columns, *(Column(COSTS[key], True) for key in keys)], rows,
                 filter_label='Candidates with')  # fmt: skip
