"""Figures of a report: training curves, precision against recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from mmcnn.pages.figures import INK, colour_of, dashes_of, drawing
from mmcnn.pages.page import paragraph
from mmcnn.plots.style import plain_log_ticks
from mmcnn.report.run_data import History

#: Maximum number of classes with their own line; if there are more, those with the lowest mean precision.
LINES = 10
_SCORES = (('coco/bbox_mAP', 'AP'), ('coco/bbox_mAP_50', 'AP50'), ('coco/bbox_mAP_75', 'AP75'))


def curves(history: History) -> Markup:
    """Return the figures of losses and learning rate by iteration, and AP by epoch."""
    parts = []
    if history.losses:
        parts.append(_losses(history))
    if history.scores:
        parts.append(_scores(history))
    if history.rates:
        parts.append(_rates(history))
    return Markup('\n').join(parts) or paragraph('The work dir has no log of the training (*/vis_data/scalars.json).')


def precision_recall(
    name: str, iou: float, precision: np.ndarray, classes: Sequence[str], objects: Sequence[int]
) -> Markup:
    """Return the figure of precision at each recall, for the classes and their mean.

    Args:
        name: name of the figure.
        iou: IoU from which a detection finds an object.
        precision: (class, 101); -1 for a class without objects.
        classes: their names.
        objects: number of objects of each.
    """
    measured = [i for i, count in enumerate(objects) if count]
    if not measured:
        return paragraph('There is nothing to measure.')
    shown = sorted(measured, key=lambda i: precision[i].mean())[:LINES]
    shown.sort()
    recall = np.linspace(0, 1, precision.shape[1])
    mean = precision[measured].mean(0)
    with drawing(name, height=4.2) as made:
        axes = made.figure.subplots()
        for series, i in enumerate(shown):
            (line,) = axes.plot(recall, precision[i], color=colour_of(series), linestyle=dashes_of(series))
            made.mark(line, series=series)
        axes.plot(recall, mean, color=INK, linewidth=2.4)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel='recall', ylabel='precision')
    more = f' The {LINES} classes with the lowest AP are shown.' if len(measured) > LINES else ''
    return made.html(
        f'Precision against recall at IoU {iou:.2f}; the mean over recall, AP, is {mean.mean():.3f}.',
        f'At IoU {iou:.2f}; the thick line is the mean of the classes, AP{round(100 * iou)} = {mean.mean():.3f}.{more}',
        [classes[i] for i in shown],
    )


def _losses(history: History) -> Markup:
    names = sorted({name for entry in history.losses.values() for name in entry}, key=lambda name: name != 'loss')
    with drawing('losses', height=3.4) as made:
        axes = made.figure.subplots()
        for series, name in enumerate(names):
            steps = [step for step, entry in history.losses.items() if name in entry]
            values = [history.losses[step][name] for step in steps]
            made.mark(axes.plot(steps, values, color=colour_of(series), linestyle=dashes_of(series))[0], series=series)
        positive = [value for entry in history.losses.values() for value in entry.values() if value > 0]
        if positive and max(positive) > 20 * min(positive):
            axes.set_yscale('log')
            plain_log_ticks(axes.yaxis)
        axes.set(xlabel='iteration', ylabel='loss')
    last = history.losses[max(history.losses)].get('loss')
    end = '' if last is None else f' The last total is {last:.3g}.'
    return made.html(
        f'Training losses by iteration.{end}', f'Training losses.{end}', [_loss_name(name) for name in names]
    )


def _scores(history: History) -> Markup:
    found = [(key, name) for key, name in _SCORES if any(key in entry for entry in history.scores.values())]
    with drawing('validations', height=3.4) as made:
        axes = made.figure.subplots()
        for series, (key, name) in enumerate(found):
            points = [(epoch, entry[key]) for epoch, entry in history.scores.items() if entry.get(key, -1) >= 0]
            line = (
                axes.plot(*zip(*points, strict=True), color=colour_of(series), linestyle=dashes_of(series))
                if points
                else []
            )
            for each in line:
                made.mark(each, series=series)
            for epoch, value in points:
                dot = axes.plot(epoch, value, 'o', markersize=4, color=colour_of(series))[0]
                made.mark(dot, series=series, tip=f'epoch {epoch}: {name} {value:.3f}')
        axes.set(xlabel='epoch', ylim=(0, 1))
        axes.xaxis.get_major_locator().set_params(integer=True)
    aps = {epoch: entry['coco/bbox_mAP'] for epoch, entry in history.scores.items() if 'coco/bbox_mAP' in entry}
    best = max(aps, key=aps.get) if aps else None
    end = '' if best is None else f' AP is best, {aps[best]:.3f}, after epoch {best}.'
    return made.html(f'Validation by epoch.{end}', f'Validation.{end}', [name for _, name in found])


def _rates(history: History) -> Markup:
    with drawing('rates', height=2.4) as made:
        axes = made.figure.subplots()
        axes.plot([*history.rates], [*history.rates.values()], color=colour_of(0))
        axes.set(xlabel='iteration', ylabel='learning rate', ylim=(0, None))
    most, last = max(history.rates.values()), history.rates[max(history.rates)]
    return made.html(f'Learning rate by iteration, {most:g} at most, {last:g} at the end.', 'Learning rate.')


def _loss_name(name: str) -> str:
    return 'total' if name == 'loss' else name.removeprefix('loss_')
