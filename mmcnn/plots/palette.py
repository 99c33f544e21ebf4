"""The palette of all plots and drawings, without Matplotlib, which drawing boxes in images does not need."""

from __future__ import annotations

#: Okabe and Ito's colour-blind safe palette without black, followed by red, violet, brown, grey. RGB.
PALETTE = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (86, 180, 233),
    (240, 228, 66),
    (200, 30, 50),
    (120, 80, 200),
    (130, 80, 50),
    (85, 85, 85),
)
PAGE = (255, 255, 255)
INK = (40, 40, 40)


def as_hex(colour: tuple[int, int, int]) -> str:
    """Return a colour in Matplotlib's hexadecimal form."""
    return '#{:02x}{:02x}{:02x}'.format(*colour)


#: The colours of lines and markers on a white page: all except yellow.
LINE_COLOURS = tuple(as_hex(colour) for colour in PALETTE if colour != (240, 228, 66))
