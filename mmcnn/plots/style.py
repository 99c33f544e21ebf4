"""The common style of all plots: figures without pyplot, labels that do not overlap data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox

from mmcnn.errors import UsageError
from mmcnn.plots.palette import INK, as_hex

#: Possible label positions: offset from the marker, and alignment.
PLACES = (
    (1, 0, 'left', 'center'), (-1, 0, 'right', 'center'), (0, 1, 'center', 'bottom'), (0, -1, 'center', 'top'),
    (5 / 6, 5 / 6, 'left', 'bottom'), (5 / 6, -5 / 6, 'left', 'top'), (-5 / 6, 5 / 6, 'right', 'bottom'),
    (-5 / 6, -5 / 6, 'right', 'top'),
)  # fmt: skip
#: Space kept free around a marker and a label, pixels.
MARGIN = 3


@contextmanager
def saved_figure(path: str | Path, width: float, height: float, dpi: int = 100) -> Iterator[Figure]:
    """Provide a figure of ``width`` x ``height`` inches to draw on, which is saved as a PNG at the end.

    pyplot is not used, since it would ask for a display and keep every figure in memory.

    Args:
        path: The PNG; its folder is created.
        width: Inches.
        height: Inches.
        dpi: Pixels per inch.

    Raises:
        UsageError: The file cannot be written.
    """
    figure = Figure(figsize=(width, height), dpi=dpi, layout='constrained')
    FigureCanvasAgg(figure)
    yield figure
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Glyph')  # names in scripts that the font lacks
            figure.savefig(path, format='png')
    except OSError as error:
        raise UsageError(f'cannot write the figure {path}: {error.strerror or error}') from error


def tidy(axes: Axes) -> None:
    """Draw a faint grid behind the data, and no frame."""
    axes.grid(alpha=0.25, which='major')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def plain_log_ticks(axis: Axis) -> None:
    """Set ticks of a logarithmic axis at 1, 2, 5, 10 ..., written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_locator(NullLocator())


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[str, float, float, float]],
    markers: Sequence[tuple[float, float, float]],
    always: bool = False,
) -> None:
    """Write labels next to their points so that they cover no marker or other label and stay inside the axes.

    The layout must be fixed: draw the canvas first.

    Args:
        axes: changed in place.
        labels: text, x and y of its point (data coordinates), distance from it in points; in order of priority.
        markers: x and y (data coordinates) and the distance that is kept free on each side of it, pixels.
        always: put a label without a free position at the first one; else it is omitted.
    """
    centres = [(*axes.transData.transform((x, y)), side) for x, y, side in markers]
    taken = [Bbox.from_bounds(x - side, y - side, 2 * side, 2 * side) for x, y, side in centres]
    inside = axes.get_window_extent()
    for label, x, y, gap in labels:
        first = None
        for dx, dy, across, up in PLACES:
            text = axes.annotate(
                label, (x, y), (dx * gap, dy * gap),
                textcoords='offset points', ha=across, va=up, fontsize=7.5, color=as_hex(INK), in_layout=False,
            )  # fmt: skip
            box = text.get_window_extent()
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if within and not any(box.overlaps(other) for other in taken):
                taken.append(box.padded(MARGIN / 2))
                break
            text.remove()
            first = first or text
        else:
            if always:
                axes.add_artist(first)
