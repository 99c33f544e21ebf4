"""Distinguishable pairs: critical-difference diagram, matrix and list of verdicts."""

from __future__ import annotations

import math
import statistics

from markupsafe import Markup
from matplotlib.transforms import ScaledTranslation

from mmcnn.compare.page.numbers import Numbers, half_width, told_apart
from mmcnn.compare.results import PairResult
from mmcnn.console.layout import shortened
from mmcnn.pages.figures import INK, QUIET, colour_of, drawing, score_limits
from mmcnn.pages.page import Section, heading, paragraph
from mmcnn.pages.tables import Cell, Column, Row, table

#: Text if nothing was compared.
NO_PAIR = 'No two candidates could be compared; the method says why.'
_ROW, _BAR = 0.9, 0.55  # heights of a label and of a bar in the diagram
_ABOVE = 40  # points from its axis to the bar above it


def pairs_section(numbers: Numbers) -> Section:
    """Return the diagram, the matrix and the list."""
    if not numbers.comparison.pairs:
        return Section('pairs', 'Pairs', paragraph(NO_PAIR))
    parts = [heading('Critical-difference diagram'), _diagram(numbers), heading('Differences of all pairs'),
             _matrix(numbers), heading('Verdicts'), _verdicts(numbers)]  # fmt: skip
    return Section('pairs', 'Pairs', Markup('\n').join(parts))


def _diagram(numbers: Numbers) -> Markup:
    """Return the diagram after Demsar, Statistical comparisons of classifiers, JMLR 7 (2006), on mean AP."""
    halves = [half for pair in numbers.comparison.pairs if (half := half_width(pair)) is not None]
    bars = [group for group in numbers.groups if len(group) > 1] if halves else []
    ascending = list(reversed(numbers.means.items()))
    rows = -(-len(ascending) // 2)
    below = _BAR * (len(bars) + 1)
    low, high = score_limits([*numbers.means.values()], 2 * max(halves, default=0.0))
    depth = below + _ROW * rows
    with drawing('critical-difference', 9, 1.0 + 0.24 * depth) as made:
        axes = made.figure.subplots()
        axes.grid(False)
        axes.spines[['left', 'bottom']].set_visible(False)
        axes.spines['top'].set_visible(True)
        axes.xaxis.tick_top()
        axes.yaxis.set_visible(False)
        axes.xaxis.set_label_position('top')
        axes.set(xlim=(low, high), ylim=(-depth, 0), xlabel='mean AP')
        side = 0.012 * (high - low)
        for place, (name, mean) in enumerate(ascending):
            left = place < rows
            row = place if left else len(ascending) - 1 - place
            y, series = -(below + _ROW * (row + 0.4)), numbers.series(name)
            end = low if left else high
            line = axes.plot([mean, mean, end], [0, y, y], color=colour_of(series), linewidth=1.3, clip_on=False)[0]
            made.mark(line)
            text = axes.text(
                end + (-side if left else side), y, f'{shortened(name, 26)}  {mean:.3f}',
                ha='right' if left else 'left', va='center',
            )  # fmt: skip
            made.mark(text, tip=f'{name}: mean AP {mean:.3f}', link=f'#candidate-{series}')
        for i, group in enumerate(bars):
            y, ends = -_BAR * (i + 0.8), [numbers.means[name] for name in group]
            made.mark(axes.plot([min(ends), max(ends)], [y, y], color=INK, linewidth=3, solid_capstyle='round')[0])
            dots = axes.plot(ends, [y] * len(ends), 'o', color=INK, markersize=6)[0]
            made.mark(dots, tip=f'not distinguishable: {"; ".join(group)}')
        if halves:
            typical = statistics.median(halves)
            above = axes.get_xaxis_transform() + ScaledTranslation(0, _ABOVE / 72, made.figure.dpi_scale_trans)
            bar = dict(color=QUIET, marker='|', linewidth=1.6, clip_on=False, transform=above)
            axes.plot([low, low + typical], [1, 1], **bar)
            axes.text(low + typical + side, 1, f'half width {typical:.3f}', va='center', transform=above)
    caption = (
        'Each candidate is at its mean AP. A thick bar joins candidates of which no two are distinguishable; the '
        'dots on it are its members, and candidates that it passes without a dot are not.'
    )
    if halves:
        caption += (
            f' The thin bar at the upper left is as long as the simultaneous 95 % interval of a pair extends to '
            f'each side: {statistics.median(halves):.3f} (median; {min(halves):.3f} to {max(halves):.3f}).'
        )
    else:
        caption += (
            ' There are no bars, since there are no intervals with one seed: no two candidates are distinguishable.'
        )
    joined = ' | '.join('; '.join(group) for group in bars) or 'none'
    return made.html(f'Candidates on an axis of mean AP. Groups that are not distinguishable: {joined}.', caption)


def _matrix(numbers: Numbers) -> Markup:
    names = list(numbers.means)
    found = {(pair.first, pair.second): pair for pair in numbers.comparison.pairs}
    rows = []
    for name in names:
        cells = [
            Cell(Markup('<strong>{}</strong> <span class="quiet">{:.3f}</span>').format(name, numbers.means[name]))
        ]
        cells += [_difference(found, name, other) for other in names]
        rows.append(Row(cells))
    caption = (
        'Mean paired difference of AP, candidate of the row minus that of the column, with the simultaneous 95 % '
        'interval. ▲ and ▼: distinguishable, higher or lower; ≈: not distinguishable.'
    )
    columns = [Column('row minus column'), *(Column(name) for name in names)]
    return table('table-matrix', caption, columns, rows, sortable=False)


def _difference(found: dict[tuple[str, str], PairResult], name: str, other: str) -> Cell:
    if name == other:
        return Cell('', kind='own')
    pair, sign = (found[name, other], 1) if (name, other) in found else (found.get((other, name)), -1)
    if pair is None:
        return Cell('-', kind='quiet')
    half, middle = half_width(pair), sign * pair.difference
    apart = told_apart(pair)
    symbol = ('▲' if sign > 0 else '▼') if apart else '≈'
    text = Markup('{} {}').format(symbol, signed(middle))
    if half is not None:
        ends = sorted([sign * pair.low, sign * pair.high])
        text += Markup('<br><small>{} to {}</small>').format(*map(signed, ends))
    return Cell(text, kind=('higher strong' if sign > 0 else 'lower strong') if apart else 'quiet')


def _verdicts(numbers: Numbers) -> Markup:
    rows = []
    for pair in numbers.comparison.pairs:
        apart, half = told_apart(pair), half_width(pair)
        interval = 'none' if half is None else f'{signed(pair.low)} to {signed(pair.high)}'
        p = pair.sign_flip_p
        rows.append(
            Row(
                [
                    pair.first, pair.second, Cell(pair.verdict, kind='wide'),
                    Cell(signed(pair.difference), pair.difference),
                    Cell(interval, math.nan if half is None else pair.low),
                    Cell('distinguishable' if apart else 'not distinguishable', kind='strong' if apart else 'quiet'),
                    Cell(str(pair.seeds), pair.seeds), _deviation(pair.variance_of_seeds),
                    _deviation(pair.variance_of_images),
                    Cell('-' if p is None else f'{p:.4f}', math.nan if p is None else p),
                ],
                flagged=apart,
            )
        )  # fmt: skip
    columns = [
        Column('first', note='with the higher mean AP'), Column('second'), Column('verdict'),
        Column('difference of AP', True), Column('95 % interval', True, 'simultaneous; sorted by its lower end'),
        Column('distinguishable'), Column('seeds', True, 'common finished seeds'),
        Column('SD of seeds', True, 'standard deviation of the difference due to the seeds'),
        Column('SD of images', True, 'standard deviation of the difference due to the images'),
        Column('sign-flip p', True, 'for this pair alone, with six or more seeds'),
    ]  # fmt: skip
    return table('table-pairs', 'Verdicts of all pairs', columns, rows,
                 filter_label='Pairs with', only_flagged='only distinguishable ones')  # fmt: skip


def _deviation(variance: float | None) -> Cell:
    known = variance is not None and math.isfinite(variance)
    return Cell(f'{math.sqrt(variance):.4f}' if known else '-', math.sqrt(variance) if known else math.nan)


def signed(value: float) -> str:
    """Return a number with three decimals and its sign."""
    return f'{value:+.3f}'
