"""The style that all plots share."""

import sys
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mmcnn.plots.palette import LINE_COLOURS, PAGE, PALETTE, as_hex
from mmcnn.plots.style import place_labels, saved_figure


def test_colours_differ_from_each_other_and_lines_from_the_page():
    distances = [np.linalg.norm(np.subtract(a, b)) for i, a in enumerate(PALETTE) for b in PALETTE[:i]]
    assert min(distances) > 50
    lines = [tuple(bytes.fromhex(colour[1:])) for colour in LINE_COLOURS]
    assert set(lines) < set(PALETTE)
    # Luma of ITU-R BT.601; the page has 255.
    assert max(np.dot((0.299, 0.587, 0.114), colour) for colour in lines) < 170 < min(PAGE)


def test_a_figure_is_saved_at_its_size_and_kept_nowhere(tmp_path):
    path = tmp_path / 'new' / 'x.png'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with saved_figure(path, 3, 2, dpi=50) as figure:
            figure.suptitle('細胞')  # the font has no such glyphs
    assert Image.open(path).size == (150, 100)
    pyplot = sys.modules.get('matplotlib.pyplot')
    assert pyplot is None or not pyplot.get_fignums()


def test_a_figure_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), saved_figure(tmp_path / 'new' / 'x.png', 3, 2):
        1 / 0  # noqa: B018
    assert not (tmp_path / 'new').exists()


def test_a_colour_for_matplotlib():
    assert as_hex((0, 114, 255)) == '#0072ff'


def test_labels_that_must_not_be_left_out():
    for always, count in ((False, 8), (True, 20)):
        figure = Figure(figsize=(6, 4))
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot([1, 1.1], [1, 1.1])
        canvas.draw()
        place_labels(axes, [(f'network {i}', 1.05, 1.05, 30) for i in range(20)], [(1.05, 1.05, 25)], always)
        assert 4 <= len(axes.texts) <= count
        assert (len(axes.texts) == 20) is always
        marker = axes.transData.transform((1.05, 1.05))
        boxes = [text.get_window_extent() for text in axes.texts[:4]]
        # 30 points are 42 pixels; no label covers the marker.
        assert not any(box.x0 < marker[0] + 25 and box.x1 > marker[0] - 25 and box.y0 < marker[1] + 25
                       and box.y1 > marker[1] - 25 for box in boxes)  # fmt: skip
        canvas.draw()
