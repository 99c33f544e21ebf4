"""Plot of the networks of the zoo: parameters against multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from PIL import Image

from mmcnn.plots.palette import LINE_COLOURS
from mmcnn.plots.style import MARGIN, place_labels, saved_figure, tidy

if TYPE_CHECKING:
    from mmcnn.zoo.table import Network

#: With ten colours, enough for seventy families.
MARKERS = 'os^DvPX'
#: Distance of a label from the centre of its marker, points.
GAP = 6


def plot_zoo(networks: Sequence[Network], path: str | Path) -> None:
    """Save a PNG 900 pixels wide, both axes logarithmic, a colour and a marker for each family.

    The rows of a family are joined in order of their multiply-adds. Labels are added for the reference rows and the
    first row of each family, the most expensive first, as far as there is a free position.
    """
    families: dict[str, list[Network]] = {}
    for network in networks:
        families.setdefault(network.family, []).append(network)
    with saved_figure(path, 9, 6.2) as figure:
        axes = figure.subplots()
        for i, (family, members) in enumerate(sorted(families.items())):
            axes.plot(
                *zip(*sorted(map(_point, members)), strict=True), label=family,
                color=LINE_COLOURS[i % len(LINE_COLOURS)], marker=MARKERS[i % len(MARKERS)], markersize=6,
                linewidth=0.6, markeredgecolor='white', markeredgewidth=0.4,
            )  # fmt: skip
        axes.set(xscale='log', yscale='log', xlabel='multiply-adds of an image, G', ylabel='parameters, M')
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter('{x:g}')
        axes.margins(0.07)
        tidy(axes)
        figure.legend(loc='outside right upper', fontsize=8, frameon=False)
        figure.canvas.draw()  # fixes the layout, on which the label positions depend
        _label(axes, list(_notable(families)), networks)
    # Lines need only a palette, a third of the bytes.
    Image.open(path).convert('RGB').quantize(128, dither=Image.Dither.NONE).save(path, format='PNG', optimize=True)


def _point(network: Network) -> tuple[float, float]:
    """Return x and y: multiply-adds, 10^9, and parameters, 10^6."""
    return network.multiply_adds / 1e9, network.total / 1e6


def _notable(families: dict[str, list[Network]]) -> Iterator[Network]:
    firsts = [members[0] for members in families.values()]
    yield from firsts
    others = [n for members in families.values() for n in members if n.exact is not None and n not in firsts]
    yield from sorted(others, key=lambda network: -network.multiply_adds)


def _label(axes: Axes, chosen: Sequence[Network], networks: Sequence[Network]) -> None:
    labels = [(network.name, *_point(network), GAP) for network in chosen]
    place_labels(axes, labels, [(*_point(network), MARGIN) for network in networks])
