"""Text in any script, drawn with installed fonts that have the characters."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

from mmcnn.errors import UsageError

#: Matplotlib's own font: Latin, Greek, Cyrillic, Arabic, Hebrew and many signs.
OWN = os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')
#: Parts of file names of fonts that are used only if no plainer one has the characters.
_NOT_PLAIN = re.compile('bold|italic|oblique|light|thin|black|condensed|mono|serif', re.IGNORECASE)
#: A font with a box for every character.
_PLACEHOLDERS = 'lastresort'
_said: set[str] = set()  # characters that no font has, and that have been reported


def check_font(font: str | Path | None) -> None:
    """Reject a file that is not a font before anything is drawn.

    Raises:
        UsageError: The file does not exist, or is not a scalable font.
    """
    if font is None:
        return
    if not Path(font).is_file():
        raise UsageError(f'font={font}: the file does not exist; use a .ttf, .otf or .ttc font file')
    if not _characters(str(font)):
        raise UsageError(f'font={font}: the file is not a scalable font; use a .ttf, .otf or .ttc font file')


def text_width(text: str, size: int, font: str | Path | None = None) -> float:
    """Return the width of a line in pixels."""
    return sum(_loaded(path, size).getlength(part) for part, path in _parts(text, font))


def line_metrics(size: int, font: str | Path | None = None) -> tuple[int, int]:
    """Return the pixels of a line above and below its baseline."""
    return _loaded(str(font or OWN), size).getmetrics()


def draw_text(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    font: str | Path | None = None,
) -> None:
    """Write a line, each part of it with a font that has its characters.

    Args:
        draw: Image to draw on.
        corner: Left and top, pixels.
        text: Without line breaks.
        size: Font size, pixels.
        colour: RGB.
        font: A file that takes precedence; None: Matplotlib's own font.
    """
    x, base = corner[0], corner[1] + line_metrics(size, font)[0]
    for part, path in _parts(text, font):
        loaded = _loaded(path, size)
        draw.text((x, base), part, font=loaded, fill=colour, anchor='ls')
        x += loaded.getlength(part)


def families(names: Iterable[str]) -> list[str]:
    """Return font families with which Matplotlib can write these names; the first has the most characters."""
    found = [OWN, *_system_fonts_with(frozenset(_lacking(''.join(names), [OWN])))]
    for path in found:
        font_manager.fontManager.addfont(path)
    return [font_manager.FontProperties(fname=path).get_name() for path in found]


def say_what_is_missing(
    names: Iterable[str], font: str | Path | None = None, say: Callable[[str], object] | None = None
) -> None:
    """Report which characters are drawn as empty boxes, once per process.

    Args:
        names: Names to be drawn.
        font: A file that takes precedence.
        say: Takes the sentence; None: issue a Python warning.
    """
    text = ''.join(names)
    lacking = _lacking(text, [str(font or OWN), OWN])
    lacking -= {each for path in _system_fonts_with(frozenset(lacking)) for each in lacking & _characters(path)}
    new = sorted(lacking - _said, key=text.index)
    if not new:
        return
    _said.update(new)
    shown = ' '.join(new[:10]) + (' ...' if len(new) > 10 else '')
    more = 's' if len(new) > 1 else ''
    sentence = (
        f'no installed font has {len(new)} character{more} of the class names, {shown}, which will be drawn as empty '
        'boxes; install a font that has them, or give a font file (font=FILE, mmcnn infer --font FILE)'
    )
    if say is None:
        warnings.warn(sentence, stacklevel=3)
    else:
        say(f'note: {sentence}')


def system_fonts() -> list[str]:
    """Return the font files of the system, plain ones first."""
    paths = (path for path in font_manager.findSystemFonts() if _PLACEHOLDERS not in Path(path).name.lower())
    return sorted(paths, key=lambda path: (len(_NOT_PLAIN.findall(Path(path).name)), path))


@lru_cache(4096)
def _parts(text: str, font: str | Path | None) -> list[tuple[str, str]]:
    """Return a line split into parts with one font each."""
    first = [str(font or OWN), OWN]
    fonts = [*first, *_system_fonts_with(frozenset(_lacking(text, first)))]
    parts: list[tuple[str, str]] = []
    for character in text:
        # Invisible characters stay with the preceding one, which they may modify.
        same = parts[-1][1] if parts else fonts[0]
        unseen = unicodedata.category(character) in ('Cf', 'Mn', 'Me', 'Zs')
        order = [same, *fonts] if unseen else fonts
        path = next((each for each in order if character in _characters(each)), same if unseen else fonts[0])
        if parts and parts[-1][1] == path:
            parts[-1] = (parts[-1][0] + character, path)
        else:
            parts.append((character, path))
    return parts


def _lacking(text: str, fonts: Sequence[str]) -> set[str]:
    """Return the visible characters of a text that none of these fonts has."""
    seen = {each for each in text if unicodedata.category(each) not in ('Cf', 'Cc', 'Mn', 'Me', 'Zs')}
    return seen - set().union(*(_characters(path) for path in fonts)) if seen else set()


@cache
def _system_fonts_with(characters: frozenset[str]) -> tuple[str, ...]:
    """Return the smallest set of system fonts with all of these characters that any font has."""
    left, found = set(characters), []
    paths = system_fonts() if left else []
    while left and paths:
        best = max(paths, key=lambda path: len(left & _characters(path)))  # among equals the plainest
        if not left & _characters(best):
            break
        found.append(best)
        left -= _characters(best)
    return tuple(found)


@cache
def _characters(path: str) -> frozenset[str]:
    """Return the characters of a font; empty if it cannot be read or has no outlines, only one size."""
    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@cache
def _loaded(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
