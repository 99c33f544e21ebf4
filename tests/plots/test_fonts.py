"""Fonts found by the characters that they contain."""

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image, ImageDraw

from mmcnn.errors import UsageError
from mmcnn.plots import fonts
from mmcnn.plots.boxes import draw_boxes
from mmcnn.plots.data import plot_data

#: System fonts do not contain these characters of the private use area.
FIRST, SECOND = '\ue8a1', '\ue8a2'


def make_font(path, characters, family):
    """Write a font in which each of these characters is a filled square of 600 of 1000 units."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 600), (700, 600), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, names = pen.glyph(), ['.notdef', *(f'c{ord(each):x}' for each in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(each): f'c{ord(each):x}' for each in characters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable(dict(familyName=family, styleName='Regular'))
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def system(monkeypatch):
    """``system(*paths)`` replaces the system's fonts; no missing character has been reported yet."""
    monkeypatch.setattr(fonts, '_said', set())

    def use(*paths):
        monkeypatch.setattr(fonts, 'system_fonts', lambda: list(paths))
        for function in (fonts._system_fonts_with, fonts._parts):
            function.cache_clear()

    yield use
    for function in (fonts._system_fonts_with, fonts._parts):
        function.cache_clear()


def written(text, **kwargs):
    """Draw text 40 px high, and count the dark pixels of each column."""
    image = Image.new('RGB', (400, 60), 'white')
    fonts.draw_text(ImageDraw.Draw(image), (10, 5), text, 40, (0, 0, 0), **kwargs)
    return (np.asarray(image)[..., 0] < 128).sum(axis=0)


def test_a_font_of_the_system_is_found_by_its_characters(tmp_path, system):
    both = make_font(tmp_path / 'b.ttf', FIRST + SECOND, 'Both')
    one = make_font(tmp_path / 'a.ttf', FIRST, 'One')
    system(one, both)
    columns = written(f'ab{FIRST}{SECOND}')
    width = fonts.text_width('ab', 40)
    squares = np.flatnonzero(columns[int(10 + width) :] == 24)  # 600 units of 40 px
    assert len(squares) == pytest.approx(48, abs=2)
    assert fonts.text_width(f'ab{FIRST}{SECOND}', 40) == pytest.approx(width + 2 * 32)
    assert fonts.families([FIRST]) == ['DejaVu Sans', 'One']
    assert fonts.families([FIRST + SECOND]) == ['DejaVu Sans', 'Both']


def test_one_font_that_was_named_comes_first(tmp_path, system):
    system()
    font = make_font(tmp_path / 'a.ttf', 'a' + FIRST, 'One')
    assert (written('a', font=font) == 24).sum() == 24  # the font's squares
    assert (written('b', font=font) > 0).any() and (written('b', font=font) == 24).sum() != 24
    image, box = np.full((480, 480, 3), 90, np.uint8), [[100, 100, 400, 400]]
    assert not np.array_equal(
        draw_boxes(image, box, [0], names=['a']), draw_boxes(image, box, [0], names=['a'], font=font)
    )


def test_what_no_font_has_is_said_once(tmp_path, system):
    system(make_font(tmp_path / 'a.ttf', FIRST, 'One'))
    said = []
    fonts.say_what_is_missing(['größe', 'مرحبا', FIRST, 'a\u200db\ufe0f', 'line\nbreak'], say=said.append)
    assert said == []
    for _ in range(2):
        fonts.say_what_is_missing([f'a{SECOND}', SECOND], say=said.append)
    assert said == [
        f'note: no installed font has 1 character of the class names, {SECOND}, which will be drawn as empty boxes; '
        'install a font that has them, or give a font file (font=FILE, mmcnn infer --font FILE)'
    ]
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # already reported
        draw_boxes(np.zeros((99, 99, 3), np.uint8), [[1, 1, 9, 9]], [0], names=[SECOND])
    with pytest.warns(UserWarning, match='has 1 character of the class names, \ue8a3'):
        draw_boxes(np.zeros((99, 99, 3), np.uint8), [[1, 1, 9, 9]], [0], names=['\ue8a3'])


def test_right_to_left_names_are_shaped():
    """The letters of an Arabic word are joined, so it is narrower than its separate letters."""
    alone = sum(fonts.text_width(each, 40) for each in 'مرحبا')
    assert fonts.text_width('مرحبا', 40) < 0.9 * alone


def test_files_that_are_no_fonts(tmp_path):
    fonts.check_font(None)
    fonts.check_font(fonts.OWN)
    (tmp_path / 'x.ttf').write_bytes(b'no font')
    for name, message in (('x.ttf', 'the file is not a scalable font'), ('y.ttf', 'the file does not exist')):
        with pytest.raises(UsageError, match=rf'font=.*{name}: {message}'):
            fonts.check_font(tmp_path / name)


def test_fonts_of_the_system_are_plain_ones_first(monkeypatch):
    paths = ['/f/NotoSans-BoldItalic.ttf', '/f/NotoSans-Bold.ttf', '/f/LastResortHE-Regular.ttf', '/f/Noto-Regular.ttf']
    monkeypatch.setattr(font_manager, 'findSystemFonts', lambda: paths)
    assert fonts.system_fonts() == [paths[3], paths[1], paths[0]]


def test_names_in_the_plot_of_the_data(tmp_path, system, recwarn):
    font = make_font(tmp_path / 'a.ttf', FIRST, 'Of the plot')
    boxes = [dict(category_id=1, bbox=[1, 1, 9, 9])]
    cocos = {each: dict(categories=[dict(id=1, name=4 * FIRST)], annotations=boxes) for each in ('train', 'val')}
    sizes = {each: np.full((1, 2), 9.0) for each in cocos}
    drawn = []
    for paths in ((), (font,)):
        system(*paths)
        plot_data(cocos, sizes, 64, tmp_path / 'plot.png')
        drawn.append(np.asarray(Image.open(tmp_path / 'plot.png').convert('L')))
    assert not np.array_equal(*drawn)
    assert not [each for each in recwarn if 'lyph' in str(each.message)]
