"""The course of the trainings: AP by epoch and losses by iteration."""

from __future__ import annotations

import math
import statistics

import numpy as np
from markupsafe import Markup

from mmcnn.compare.page.numbers import Numbers
from mmcnn.compare.results import RunResult
from mmcnn.console.layout import number
from mmcnn.pages.figures import colour_of, dashes_of, drawing, marker_of, score_limits
from mmcnn.pages.page import Section, heading, paragraph
from mmcnn.plots.style import plain_log_ticks

#: Number of points of a loss curve; each is the mean of a part of the training.
_POINTS = 60


def curves_section(numbers: Numbers) -> Section:
    """Return AP by epoch and losses; the legend of the first applies to both."""
    parts = [*_scores(numbers), *_losses(numbers)]
    return Section('curves', 'Training curves', Markup('\n').join(parts or [paragraph('No run has kept a curve.')]))


def _scores(numbers: Numbers) -> list[Markup]:
    values = []
    with drawing('curves-ap') as made:
        axes = made.figure.subplots()
        for series, candidate in enumerate(numbers.comparison.candidates):
            colour, dashes, curves = colour_of(series), dashes_of(series), []
            for run in candidate.runs:
                points = [(each['epoch'], each['AP']) for each in run.curve if _is_number(each.get('AP'))]
                if points:
                    line = axes.plot(
                        *zip(*points, strict=True), linestyle=dashes, color=colour, linewidth=0.8, alpha=0.4
                    )
                    made.mark(line[0], series=series)
                values += [score for _, score in points]
                curves.append(dict(points))
            # The mean is over the same runs at every epoch; otherwise it would jump where one of them ends.
            last = max((max(curve, default=0) for curve in curves), default=0)
            whole = [curve for curve in curves if last in curve]
            epochs = sorted(set.intersection(*map(set, whole))) if whole else []
            means = [(epoch, statistics.fmean(curve[epoch] for curve in whole)) for epoch in epochs]
            if means:
                made.mark(axes.plot(*zip(*means, strict=True), linestyle=dashes, color=colour)[0], series=series)
            for epoch, mean in means:
                point = axes.plot([epoch], [mean], marker_of(series), color=colour, markersize=5)[0]
                tip = f'{candidate.name}, epoch {epoch}: mean AP {mean:.3f} of {number(len(whole), "run")}'
                made.mark(point, series=series, tip=tip, link=f'#candidate-{series}')
        axes.set(xlabel='epoch', ylabel='AP', ylim=score_limits(values or [0.0], numbers.widest))
        axes.xaxis.get_major_locator().set_params(integer=True)
    if not values:
        return []
    caption = 'Bold lines with markers are means over the seeds, faint ones single runs.'
    alternative = 'AP of each candidate by epoch; the table of runs has the AP at the end.'
    legend = [each.name for each in numbers.comparison.candidates]
    return [heading('AP by epoch'), made.html(alternative, caption, legend)]


def _losses(numbers: Numbers) -> list[Markup]:
    values = []
    with drawing('curves-loss') as made:
        axes = made.figure.subplots()
        for series, candidate in enumerate(numbers.comparison.candidates):
            style, longest, whole = dict(color=colour_of(series), linestyle=dashes_of(series)), np.empty(0), []
            for iterations, losses in filter(lambda each: each[0].size, map(_thinned, candidate.runs)):
                made.mark(axes.plot(iterations, losses, linewidth=0.8, alpha=0.3, **style)[0], series=series)
                values.append(losses)
                if not np.array_equal(iterations, longest) and iterations[-1] > max(longest, default=0):
                    longest, whole = iterations, []
                if np.array_equal(iterations, longest):
                    whole.append(losses)
            if whole:
                made.mark(axes.plot(longest, np.mean(whole, axis=0), **style)[0], series=series)
        together = np.concatenate(values) if values else np.ones(1)
        if together.min() > 0 and together.max() > 5 * together.min():
            axes.set_yscale('log')
            plain_log_ticks(axes.yaxis)
        axes.set(xlabel='iteration', ylabel='training loss')
    if not values:
        return []
    caption = (
        f'Bold lines are means over the seeds, faint ones single runs; each point is the mean of one of {_POINTS} '
        'parts of the training. A lower loss does not imply a higher AP.'
    )
    return [heading('Losses'), made.html('Training loss of each candidate by iteration.', caption)]


def _thinned(run: RunResult) -> tuple[np.ndarray, np.ndarray]:
    """Return iterations and losses of a run, both as means of at most :data:`_POINTS` parts."""
    points = [(each['iteration'], each['loss']) for each in run.losses if _is_number(each.get('loss'))]
    if not points:
        return np.empty(0), np.empty(0)
    parts = np.array_split(np.array(points, float), min(_POINTS, len(points)))
    return tuple(np.array([part.mean(0) for part in parts]).T)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
