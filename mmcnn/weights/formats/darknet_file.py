"""Reading and writing of Darknet's weight files: ``.weights`` and the truncated ``.conv.N``.

Little-endian: three int32 (version 0.1.0, 0.2.0 or 0.2.5), the number of images seen in training (uint64; uint32 before
version 0.2), and the stream of float32 that :mod:`mmcnn.weights.sources.darknet` describes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats import check_file, first_line

VERSION = (0, 2, 5)  # version of the files that are written
FLOAT = 4  # bytes
#: First bytes -> the other format that begins with them.
FOREIGN = {
    b'PK': 'a zip archive (.pth, .pt or .npz)',
    b'\x80': 'a pickle (an old .pth or .pt file)',
    b'\x89HDF': 'an HDF5 file (.h5)',
    b'\x1f\x8b': 'a gzip archive, which must be unpacked first',
    b'\x89PNG': 'an image',
    b'\xff\xd8\xff': 'an image',
}


class Header(NamedTuple):
    """The header of the file."""

    version: tuple[int, int, int]
    seen: int  # images seen in training
    size: int  # size of the header, bytes


def is_darknet(head: bytes, size: int) -> bool:
    """Return whether a file looks like Darknet's by its first 20 bytes and size; :func:`read_header` may reject it."""
    return size >= 16 and (_version(head, '<') or _version(head, '>')) is not None


def read_header(path: str | Path) -> Header:
    """Return the version of a file and the number of images seen in its training.

    Raises:
        CheckpointError: missing, empty or not a Darknet file; the message says what it looks like.
    """
    path = Path(path).expanduser()
    check_file(path)
    try:
        with path.open('rb') as file:
            head = file.read(20)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}') from error
    version = _version(head, '<')
    if version is None:
        raise CheckpointError(f'{path} is not a Darknet weight file but {_looks_like(path, head)}')
    seen = struct.Struct('<Q' if version >= (0, 2, 0) else '<I')
    if len(head) < 12 + seen.size:
        raise CheckpointError(f'{path} is truncated within its header of {12 + seen.size} bytes')
    return Header(version, *seen.unpack_from(head, 12), 12 + seen.size)


def count_floats(path: Path, header: Header) -> int:
    """Return the number of floats after the header.

    Raises:
        CheckpointError: the file ends in the middle of a float.
    """
    floats, rest = divmod(path.stat().st_size - header.size, FLOAT)
    if rest:
        raise CheckpointError(f'{path} is truncated or damaged: {rest} bytes follow its {floats:,} floats')
    return floats


def read_floats(file: BinaryIO, header: Header, position: int, count: int) -> np.ndarray:
    """Return floats after the header, starting at a position; fewer if the file ends."""
    file.seek(header.size + FLOAT * position)
    return np.fromfile(file, '<f4', count)


def write_file(path: Path, arrays: Iterable[np.ndarray], seen: int) -> None:
    """Write a file of version 0.2.5, completely or not at all.

    Args:
        path: path of the file, which is replaced if it exists.
        arrays: float32, in the order of the stream.
        seen: images that the training has seen.

    Raises:
        CheckpointError: the file cannot be written.
    """

    def write(file: BinaryIO) -> None:
        file.write(struct.pack('<3iQ', *VERSION, seen))
        for array in arrays:
            file.write(array.astype('<f4', copy=False).data)

    try:
        write_whole(path, write)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be written: {error.strerror}') from error


def _version(head: bytes, byte_order: str) -> tuple[int, int, int] | None:
    """Return the version in a header; None if Darknet never had such a version."""
    if len(head) < 12:
        return None
    major, minor, revision = struct.unpack_from(f'{byte_order}3i', head)
    known = 0 <= major <= 2 and 0 <= minor <= 9 and 0 <= revision <= 99 and (major, minor) != (0, 0)
    return (major, minor, revision) if known else None


def _looks_like(path: Path, head: bytes) -> str:
    for first, kind in FOREIGN.items():
        if head.startswith(first):
            return kind
    if _version(head, '>'):
        return 'a file in big-endian byte order, which Darknet does not write'
    if head[8:9] == b'{':
        return 'a .safetensors file'
    if line := first_line(path):
        if line.startswith('<'):
            return f'a web page, probably from a failed download; it begins with {line!r}'
        return f'a text file that begins with {line!r}'
    return f'an unknown file that begins with the bytes {head[:12].hex(" ")}'
