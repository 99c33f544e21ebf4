"""Figures as SVG in a page: drawn by Matplotlib, coloured by the page's style, with interactive marks."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mmcnn.plots import palette
from mmcnn.plots.palette import LINE_COLOURS

#: Colours in the figure -> those of the page's style, light and dark.
SERIES = LINE_COLOURS
INK, QUIET, LINE, PAGE = '#010203', '#010204', '#010205', '#010206'
#: Marker shapes and line dashes of series, so that colours are not the only distinction.
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>', 'p', '*', 'd')
DASHES = ('-', (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_VARIABLES = {colour: f'var(--series-{i})' for i, colour in enumerate(SERIES)} | {
    INK: 'var(--ink)', QUIET: 'var(--quiet)', LINE: 'var(--line)', PAGE: 'var(--page)',
    palette.as_hex(palette.INK): 'var(--ink)',  # labels that mmcnn.plots places
}  # fmt: skip
_LINK = '{http://www.w3.org/1999/xlink}href'
#: Attributes with pixel coordinates, which are rounded to a hundredth.
_PLACES = ('d', 'x', 'y', 'transform')
_SETTINGS = {
    'svg.fonttype': 'none', 'text.parse_math': False, 'font.size': 9, 'axes.labelsize': 9, 'axes.titlesize': 10,
    'xtick.labelsize': 8.5, 'ytick.labelsize': 8.5, 'text.color': INK, 'axes.labelcolor': INK, 'axes.edgecolor': QUIET,
    'xtick.color': QUIET, 'ytick.color': QUIET, 'xtick.labelcolor': INK, 'ytick.labelcolor': INK, 'grid.color': LINE,
    'axes.facecolor': 'none', 'figure.facecolor': 'none', 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'axes.axisbelow': True, 'lines.linewidth': 1.6, 'path.simplify': True,
}  # fmt: skip
#: Minimum span of an axis of AP.
LEAST_SPAN = 0.1
_Drawn = TypeVar('_Drawn', bound=Artist)


@dataclass
class Drawing:
    """A figure that is being drawn.

    Attributes:
        figure: the Matplotlib figure; its layout is constrained.
        marks: the arguments of :meth:`mark`, by id.
    """

    name: str
    figure: Figure
    marks: dict[str, dict[str, Any]] = field(default_factory=dict)
    _svg: str = ''

    def mark(self, artist: _Drawn, *, series: int | None = None, tip: str = '', link: str = '') -> _Drawn:
        """Make an artist interactive on the page.

        Args:
            artist: an artist of the figure.
            series: number of the legend's button that hides and shows it.
            tip: text that is shown when the mark is pointed at, or reached with the arrow keys.
            link: target of a click on it, ``#name``.
        """
        key = f'mark-{len(self.marks)}'
        artist.set_gid(key)
        self.marks[key] = dict(series=series, tip=tip, link=link)
        return artist

    def html(self, alternative: str, caption: str | Markup = '', legend: Sequence[str] = ()) -> Markup:
        """Return the figure with its caption, once it has been drawn.

        Args:
            alternative: description in a sentence or two for users who cannot see it.
            caption: caption below it.
            legend: names of the series; each becomes a button that hides and shows its marks.
        """
        return Markup('<figure class="plot">\n{}<div class="scroll" {}>{}</div>\n{}</figure>').format(
            legend_buttons(dict(enumerate(legend))) if legend else '',
            Markup('role="group" aria-label="Figure" tabindex="0"'),
            _cleaned(self._svg, self.name, alternative, self.marks),
            Markup('<figcaption>{}</figcaption>\n').format(caption) if caption else '',
        )


@contextmanager
def drawing(name: str, width: float = 9, height: float = 4.6) -> Iterator[Drawing]:
    """Provide a figure to draw on, in the page's style; it is finished at the end.

    Args:
        name: name of the figure, unique on a page: letters, digits and hyphens.
        width: in inches of 72 units; the page shows it as wide as possible.
        height: likewise.
    """
    with mpl.rc_context({**_SETTINGS, 'svg.hashsalt': name}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph')  # the browser has the glyphs that this font lacks
        figure = Figure(figsize=(width, height), dpi=72, layout='constrained')
        FigureCanvasSVG(figure)
        made = Drawing(name, figure)
        yield made
        text = io.StringIO()
        figure.savefig(text, format='svg', metadata=dict(Date=None, Creator=None, Format=None, Type=None))
        made._svg = text.getvalue()


def colour_of(series: int) -> str:
    """Return the colour of a series."""
    return SERIES[series % len(SERIES)]


def marker_of(series: int) -> str:
    """Return the marker shape of a series."""
    return MARKERS[series % len(MARKERS)]


def dashes_of(series: int) -> str | tuple:
    """Return the line dashes of a series, which change whenever the colours repeat."""
    return DASHES[series // len(SERIES) % len(DASHES)]


def score_limits(values: Sequence[float], widest: float = 0.0) -> tuple[float, float]:
    """Return the limits of an axis of scores from 0 to 1, such that noise does not look like a difference.

    Args:
        values: all values that are drawn, including ends of intervals.
        widest: width of the widest interval, in the scores' unit.

    Returns:
        Lowest and highest: at least :data:`LEAST_SPAN` and ``widest`` apart, around the values, and within 0 and 1 if
            these are.
    """
    low, high = min(values), max(values)
    margin = 0.06 * max(high - low, LEAST_SPAN)
    span = max(high - low + 2 * margin, widest, LEAST_SPAN)
    low = (low + high - span) / 2
    low = min(low, max(1.0, high) - span) if low + span > 1 else low
    low = max(low, min(0.0, *values)) if low < 0 else low
    return low, low + span


def legend_buttons(names: Mapping[int, str], samples: bool = True) -> Markup:
    """Return buttons that hide and show the marks with their number in the same section of the page.

    Args:
        names: number of the series -> its name.
        samples: include the marker and line of each.
    """
    buttons = Markup('').join(
        Markup('<button type="button" aria-pressed="true" data-series="{}">{} {}</button>').format(
            i, _sample(i) if samples else '', name
        )
        for i, name in names.items()
    )
    return Markup('<div class="legend needs-script" role="group" aria-label="Show">{}</div>\n').format(buttons)


def choice(label: str, options: Sequence[tuple[str, Markup]]) -> Markup:
    """Return several alternatives, one of which is shown at a time, by name; without scripts all are."""
    names = Markup('').join(Markup('<option value="{}">{}</option>').format(i, n) for i, (n, _) in enumerate(options))
    bodies = Markup('\n').join(
        Markup('<div data-option="{}">{}</div>').format(i, body) for i, (_, body) in enumerate(options)
    )
    return Markup(
        '<div class="choice"><label class="controls needs-script">{} <select>{}</select></label>\n{}</div>'
    ).format(label, names, bodies)


def _sample(series: int) -> Markup:
    """Return a marker on a piece of line, as a series is drawn."""
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(marker_of(series))
    path = style.get_path().transformed(style.get_transform())
    steps = ' '.join(
        f'{"M" if i == 0 else "L"}{12 + 9 * x:.1f} {7 - 9 * y:.1f}'
        for i, (x, y) in enumerate(path.to_polygons()[0])
    )  # fmt: skip
    dash = dashes_of(series)
    dashes = '' if dash == '-' else Markup(' stroke-dasharray="{}"').format(' '.join(str(2 * each) for each in dash[1]))
    return Markup(
        '<svg class="sample" viewBox="0 0 24 14" width="24" height="14" aria-hidden="true" style="color: {}">'
        '<path d="M0 7H24" stroke="currentColor" stroke-width="2"{}/><path d="{}Z" fill="currentColor"/></svg>'
    ).format(_VARIABLES[colour_of(series)], dashes, steps)


def _cleaned(svg: str, name: str, alternative: str, marks: dict[str, dict[str, Any]]) -> Markup:
    """Return Matplotlib's SVG as part of a page: colours of its style, unique ids, interactive marks."""
    root = ElementTree.fromstring(svg)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
    used = {f'#{each}' for pair in used for each in pair if each}
    parents = {child: parent for parent in root.iter() for child in parent}
    for element in list(root.iter()):
        element.tag = element.tag.rpartition('}')[2]  # HTML has no namespaces
        if element.tag in ('style', 'metadata'):
            parents[element].remove(element)
        own = element.attrib.pop('id', '')
        if f'#{own}' in used:
            element.set('id', f'{name}-{own}')
        for key, value in list(element.attrib.items()):
            if key == _LINK:
                del element.attrib[key]
                element.set('href', value.replace('#', f'#{name}-'))
            elif key in _PLACES:
                element.set(key, re.sub(r'-?\d+\.\d{2,}', lambda each: f'{float(each[0]):.2f}', value))
            elif 'url(#' in value:
                element.set(key, value.replace('url(#', f'url(#{name}-'))
        if own in marks:
            _answer(element, **marks[own])
    for key in ('width', 'height', 'version'):
        root.attrib.pop(key, None)
    tips = any(mark['tip'] for mark in marks.values())
    root.attrib |= {'role': 'group' if tips else 'img', 'aria-label': alternative}
    text = ElementTree.tostring(root, encoding='unicode')
    text = re.sub(r'font-family: [^;"]+', 'font-family: var(--plot-font)', text)
    text = re.sub('|'.join(_VARIABLES), lambda found: _VARIABLES[found[0]], text)
    return Markup(re.sub(r'\n\s*', '\n', text))


def _answer(element: ElementTree.Element, series: int | None, tip: str, link: str) -> None:
    if series is not None:
        element.set('data-series', str(series))
    if not tip:
        return
    element.attrib |= {'class': 'mark', 'aria-label': tip}
    if link:
        element.tag = 'a'
        element.set('href', link)
    else:
        element.set('role', 'img')
