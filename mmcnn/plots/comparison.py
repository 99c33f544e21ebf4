"""Plot of compared backbones: AP against latency."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmcnn.plots.palette import LINE_COLOURS
from mmcnn.plots.style import place_labels, saved_figure, tidy

if TYPE_CHECKING:
    from mmcnn.compare.table import Row

#: Area of the largest bubble, square points.
BUBBLE = 900
#: Minimum span of the axis of AP.
LEAST_AP = 0.1


def plot_comparison(rows: Sequence[Row], title: str, path: str | Path) -> None:
    """Save a PNG: mean AP against latency, with bubble areas proportional to the parameters.

    Args:
        rows: The backbones, each with at least one result.
        title: Config and budget.
        path: The PNG; its folder is created.
    """
    largest = max(row.parameters for row in rows)
    labels, markers = [], []
    with saved_figure(path, 8, 5.5) as figure:
        axes = figure.subplots()
        for i, row in enumerate(rows):
            colour = LINE_COLOURS[i % len(LINE_COLOURS)]
            area = BUBBLE * row.parameters / largest
            point = row.latency_ms, statistics.mean(row.AP)
            axes.scatter(*point, s=area, color=colour, alpha=0.6, linewidths=0)
            if len(row.AP) > 1:
                axes.errorbar(*point, yerr=statistics.stdev(row.AP), color=colour, capsize=3)
            radius = (area / math.pi) ** 0.5  # points
            labels.append((f'{row.backbone}, {row.parameters / 1e6:.3g} M', *point, radius + 3))
            markers.append((*point, radius * figure.dpi / 72))
        axes.set(xlabel='latency, ms', ylabel='AP', title=title)
        axes.title.set(fontsize=9, wrap=True)
        axes.margins(0.2)
        low, high = axes.get_ylim()
        if (more := (LEAST_AP - (high - low)) / 2) > 0:  # otherwise noise would look like a difference
            axes.set_ylim(low - more, high + more)
        tidy(axes)
        figure.canvas.draw()  # fixes the layout, on which the label positions depend
        place_labels(axes, labels, markers, always=True)
