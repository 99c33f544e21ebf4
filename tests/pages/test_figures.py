"""SVG figures in a page: colours, ids, marks, and axes that do not exaggerate noise."""

import itertools
import re
from importlib import resources
from xml.etree import ElementTree

import numpy as np
import pytest

from mmcnn.pages.figures import (
    LEAST_SPAN,
    MARKERS,
    SERIES,
    choice,
    colour_of,
    dashes_of,
    drawing,
    legend_buttons,
    marker_of,
    score_limits,
)

HOSTILE = '<script>alert("$1$")</script>'


def drawn(name='first'):
    with drawing(name, 4, 3) as made:
        axes = made.figure.subplots()
        made.mark(axes.plot([0, 1], [0.1, 0.4125], color=colour_of(3))[0], series=3)
        made.mark(axes.plot([1], [0.4], 'o', color=colour_of(0))[0], series=0, tip='a: 0.4125 ', link='#run-1')
        made.mark(axes.plot([0.5], [0.2], marker_of(1), color=colour_of(1))[0], series=1, tip=HOSTILE)
        axes.set(xlabel=HOSTILE, ylabel='AP')
    return made


def svg(html):
    """Parse the figure's SVG, which must be well-formed."""
    return ElementTree.fromstring(re.search(r'<svg viewBox.*?</svg>(?=</div>)', str(html), re.DOTALL)[0])


def test_marks_answer():
    root = svg(drawn().html('What is seen'))
    assert root.get('aria-label') == 'What is seen'
    assert root.get('role') == 'group'
    link, other = (each for each in root.iter() if each.get('class') == 'mark')
    assert (link.tag, link.get('href'), link.get('data-series')) == ('a', '#run-1', '0')
    assert link.get('aria-label') == 'a: 0.4125 '  # unchanged: only coordinates are rounded
    assert (other.tag, other.get('role'), other.get('aria-label')) == ('g', 'img', HOSTILE)
    assert sorted(each.get('data-series') for each in root.iter() if each.get('data-series')) == ['0', '1', '3']


def test_a_figure_without_tips_is_an_image():
    with drawing('plain', 2, 2) as made:
        made.figure.subplots().plot([1, 2])
    assert svg(made.html('A line')).get('role') == 'img'


def test_all_colours_are_those_of_the_style():
    text = str(drawn().html('x'))
    colours = {*re.findall(r'#[0-9a-f]{6}', text)}
    assert colours == set()
    assert {'var(--series-0)', 'var(--series-1)', 'var(--series-3)', 'var(--ink)'} <= {
        *re.findall(r'var\([^)]+\)', text)
    }


def test_ids_are_unique_and_references_lead_somewhere():
    text = f'{drawn("first").html("x")}{drawn("second").html("x")}'
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 2
    used = {*re.findall(r'url\(#([^)]+)\)', text), *re.findall(r'<use [^>]*href="#([^"]+)"', text)}
    assert used == set(ids)


def test_text_is_text_and_no_formula():
    html = str(drawn().html('x', HOSTILE, [HOSTILE]))
    assert '<script' not in html
    assert HOSTILE in [each.text for each in svg(html).iter('text')]


def test_the_same_figure_is_the_same_text():
    assert drawn().html('x') == drawn().html('x')


def test_series_are_told_apart_by_more_than_colours():
    looks = [(colour_of(i), marker_of(i), dashes_of(i)) for i in range(40)]
    assert len(set(looks)) == 40
    assert len({marker for _, marker, _ in looks[: len(MARKERS)]}) == len(MARKERS)
    buttons = str(legend_buttons(dict(enumerate('abcdefghijkl'))))
    assert buttons.count('aria-pressed="true"') == 12
    assert len({*re.findall(r'<path d="[^"]+Z" fill', buttons)}) == 12
    assert '<svg' not in str(legend_buttons({0: 'a'}, samples=False))


@pytest.mark.parametrize(
    'values, widest, expected',
    [
        ([0.4, 0.4 + 1e-6], 0.0, (0.35, 0.45)),  # noise does not fill the axis
        ([0.30, 0.50], 0.0, (0.288, 0.512)),  # 6 % of the span on each side
        ([0.40, 0.42], 0.3, (0.26, 0.56)),  # the widest interval
        ([0.0, 0.01], 0.0, (0.0, 0.112)),  # starts at 0
        ([0.99, 1.0], 0.0, (0.888, 1.0)),  # ends at 1
        ([-0.02, 0.05], 0.0, (-0.02, 0.08)),  # an interval below 0 is visible
        ([0.0, 1.0], 3.0, (0.0, 3.0)),  # wider than all scores
    ],
)
def test_limits_of_an_axis_of_scores(values, widest, expected):
    found = score_limits(values, widest)
    assert found[1] - found[0] >= max(LEAST_SPAN, widest) - 1e-12
    assert found[0] <= min(values)
    assert max(values) <= found[1]
    assert found[0] == pytest.approx(expected[0], abs=0.013)
    assert found[1] == pytest.approx(expected[1], abs=0.013)


def test_a_choice_shows_all_without_scripts():
    text = str(choice('Cost', [('one', drawn().html('x')), (HOSTILE, drawn('b').html('y'))]))
    assert text.count('data-option') == 2
    assert 'hidden' not in text
    assert '<script' not in text


def luminance(colour):
    """Return the relative luminance of WCAG 2."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    high, low = sorted([luminance(one), luminance(other)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize('theme', [0, 1], ids=['light', 'dark'])
def test_contrast_of_the_colours(theme):
    """Text has at least 4.5 : 1, graphics 3 : 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    style = resources.files('mmcnn.pages').joinpath('page.css').read_text('utf-8')
    pairs = re.findall(r'--([a-z0-9-]+): light-dark\((#\w{6}), (#\w{6})\)', style)
    colours = {name: both[theme] for name, *both in pairs}
    for text, ground in itertools.product(('ink', 'quiet', 'accent', 'wrong'), ('page', 'panel')):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours['ink'], colours['chosen']) >= 4.5
    series = [colours[f'series-{i}'] for i in range(len(SERIES))]
    assert min(contrast(each, colours['page']) for each in series) >= 3
    assert len(set(series)) == len(SERIES)
