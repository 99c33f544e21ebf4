"""A picture of the zoo: parameters against multiply-adds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from mmcnn.zoo.table import GIGA, MEGA, Network

# Ten colours and seven markers: seventy families in different dress.
COLOURS = ('#1f77b4', '#d95f02', '#2a9d4a', '#c1272d', '#7a4fbf', '#8c564b', '#d6539f', '#555555', '#9a9a00', '#0aa5b8')
MARKERS = 'os^DvPX'
#: Where a label may stand: the way to it from its marker, and how it is aligned.
PLACES = (
    (1, 0, 'left', 'center'), (-1, 0, 'right', 'center'), (0, 1, 'center', 'bottom'), (0, -1, 'center', 'top'),
    (5 / 6, 5 / 6, 'left', 'bottom'), (5 / 6, -5 / 6, 'left', 'top'), (-5 / 6, 5 / 6, 'right', 'bottom'),
    (-5 / 6, -5 / 6, 'right', 'top'),
)  # fmt: skip
#: Distance of a label from its marker's middle, points.
GAP = 6
#: Space kept free around a marker and a label, pixels.
MARGIN = 3


def plot(networks: Sequence[Network], path: str | Path) -> None:
    """Saves a PNG 900 pixels wide, both axes logarithmic, a colour and a marker for each family.

    The rows of a family are joined in order of their multiply-adds. Labelled are the reference rows and the first of
    each family, the dearest first, as far as a label finds a free place.
    """
    families: dict[str, list[Network]] = {}
    for network in networks:
        families.setdefault(network.family, []).append(network)
    figure = Figure(figsize=(9, 6.2), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, (family, members) in enumerate(sorted(families.items())):
        points = sorted((network.multiply_adds / GIGA, network.total / MEGA) for network in members)
        axes.plot(
            *zip(*points, strict=True), label=family, color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)], markersize=6, linewidth=0.6, markeredgecolor='white', markeredgewidth=0.4,
        )  # fmt: skip
    axes.set(xscale='log', yscale='log', xlabel='multiply-adds of an image, G', ylabel='parameters, M')
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter('{x:g}')
    axes.margins(0.07)
    axes.grid(alpha=0.25, which='major')
    axes.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside right upper', fontsize=8, frameon=False)
    canvas.draw()  # fixes the layout, which places of labels depend on
    _label(axes, list(_notable(families)), networks)

    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # A picture of lines needs no more than a palette, a third of the bytes.
    Image.open(buffer).convert('RGB').quantize(128, dither=Image.Dither.NONE).save(path, format='PNG', optimize=True)


def _notable(families: dict[str, list[Network]]) -> Iterator[Network]:
    firsts = [members[0] for members in families.values()]
    yield from firsts
    others = [n for members in families.values() for n in members if n.exact is not None and n not in firsts]
    yield from sorted(others, key=lambda network: -network.multiply_adds)


def _label(axes: Axes, chosen: Sequence[Network], networks: Sequence[Network]) -> None:
    at = {n.name: (n.multiply_adds / GIGA, n.total / MEGA) for n in networks}
    place_labels(axes, [(n.name, *at[n.name], GAP) for n in chosen], [(*point, MARGIN) for point in at.values()])


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[str, float, float, float]],
    markers: Sequence[tuple[float, float, float]],
    always: bool = False,
) -> None:
    """Writes labels beside their points where they cover no marker, no other label and stay inside the axes.

    The layout has to be fixed: draw the canvas first.

    Args:
        axes: changed in place.
        labels: text, x and y of its point (data coordinates), distance from it in points; the first choose first.
        markers: x and y (data coordinates) and the side that is kept free to each side of it, pixels.
        always: a label that finds no free place stands in the first one; else it is left out.
    """
    centres = [(*axes.transData.transform((x, y)), side) for x, y, side in markers]
    taken = [Bbox.from_bounds(x - side, y - side, 2 * side, 2 * side) for x, y, side in centres]
    inside = axes.get_window_extent()
    for label, x, y, gap in labels:
        first = None
        for dx, dy, across, up in PLACES:
            text = axes.annotate(
                label, (x, y), (dx * gap, dy * gap),
                textcoords='offset points', ha=across, va=up, fontsize=7.5, color='#282828', in_layout=False,
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
