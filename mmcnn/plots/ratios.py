"""Ratios of measurements to those that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmcnn.plots.palette import LINE_COLOURS
from mmcnn.plots.style import saved_figure, tidy


def plot_ratios(rows: Sequence[tuple[str, str, float, float, float]], title: str, path: str | Path) -> None:
    """Save a PNG: a point with its range for each row and side, on an axis that includes 1.

    Args:
        rows: row, side, ratio, lower and upper end of its range; rows with the same name are grouped.
        title: what was measured.
        path: the PNG; its folder is created.
    """
    names = list(dict.fromkeys(row for row, *_ in rows))
    sides = list(dict.fromkeys(side for _, side, *_ in rows))
    with saved_figure(path, 8, 1.2 + 0.3 * len(names) + 0.12 * len(rows)) as figure:
        axes = figure.subplots()
        axes.axvline(1, color='0.4', linewidth=1)
        for number, side in enumerate(sides):
            found = [row for row in rows if row[1] == side]
            heights = [names.index(row) + 0.7 * (number + 0.5) / len(sides) - 0.35 for row, *_ in found]
            errors = [[ratio - low for *_, ratio, low, _ in found], [high - ratio for *_, ratio, _, high in found]]
            axes.errorbar(
                [ratio for *_, ratio, _, _ in found],
                heights,
                xerr=errors,
                fmt='o',
                markersize=4,
                capsize=2,
                color=LINE_COLOURS[number % len(LINE_COLOURS)],
                label=side,
            )
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel='ratio to the best peer', title=title)
        axes.invert_yaxis()
        axes.legend(fontsize=8)
        tidy(axes)
