"""Parsing of the header of a JPEG file (ITU-T T.81, annex B)."""

from typing import NamedTuple

_START_OF_FRAME = range(0xC0, 0xD0)
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # tables with numbers in the range of frames
_SEQUENTIAL = (0xC0, 0xC1)
_START_OF_SCAN = 0xDA
_EXIF = 0xE1, b'Exif\x00'


class JpegHeader(NamedTuple):
    """The header of a JPEG file.

    Attributes:
        size: (w, h) in pixels.
        channels: 1, 3 or 4.
        has_exif: Whether there are EXIF data, which may rotate the image.
        in_rows: Whether the file encodes the image row by row, each with all channels.
        height_at: Offset of the height in the file, two bytes, the higher one first.
    """

    size: tuple[int, int]
    channels: int
    has_exif: bool
    in_rows: bool
    height_at: int


def read_jpeg_header(data: bytes | bytearray) -> JpegHeader | None:
    """Return the header of a JPEG file in memory; None if it is not one, or its header is damaged."""
    if data[:2] != b'\xff\xd8':
        return None
    frame, has_exif, at = None, False, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        content = at + 4
        at += 2 + length
        if length < 2 or at > len(data):
            return None
        if marker in _START_OF_FRAME and marker not in _NOT_FRAMES:
            if length < 8:
                return None
            frame = marker, content
        elif marker == _EXIF[0] and data[content : content + len(_EXIF[1])] == _EXIF[1]:
            has_exif = True
        elif marker == _START_OF_SCAN:
            if frame is None or length < 3:
                return None
            kind, start = frame
            height, width = (int.from_bytes(data[each : each + 2], 'big') for each in (start + 1, start + 3))
            channels = data[start + 5]
            in_rows = kind in _SEQUENTIAL and data[content] == channels
            return JpegHeader((width, height), channels, has_exif, in_rows, start + 1)
    return None
