"""The check of a single decoded image: errors, the size at which it is used, its content."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageFile

#: libjpeg's messages, only on stderr, about data that it replaces by grey.
_DAMAGE = (b'Corrupt JPEG data', b'Premature end of JPEG file')
#: A few stuffing bytes after the last pixel, which some cameras write: harmless.
_STUFFING = re.compile(rb'Corrupt JPEG data: \d extraneous bytes before marker 0xd9')
_STDERR = 2
_messages = None  # messages of the decoders, in a worker


class ImageFact(NamedTuple):
    """Facts about an image file.

    Attributes:
        problem: A kind of :data:`~mmcnn.datasets.folders.findings.SEVERITY`; None: it is usable.
        detail: The problem as the rest of a sentence about the file.
        width: Width in pixels, as used in training: rotated by EXIF; 0 if it cannot be decoded.
        height: Height in pixels, likewise.
        stored: Width and height in the file's header; (0, 0) if only OpenCV knows the format.
        digest: Digest of the decoded pixels: equal for copies, also after lossless recompression.
    """

    problem: str | None
    detail: str = ''
    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    digest: str = ''


def check_image(path: str) -> ImageFact:
    """Decode an image with Pillow, which refuses truncated files, and with OpenCV, which is used in training.

    The size in the header is checked before anything is decoded: more than Pillow's 178,956,970 pixels are refused.
    Damage inside a JPEG is only found in a process that :func:`start_worker` has prepared.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ImageFact('missing image', 'does not exist' if not os.path.isdir(path) else 'is a folder')
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return ImageFact('unreadable image', f'cannot be read: {getattr(error, "strerror", None) or error}')
    if not data:
        return ImageFact('unreadable image', 'is empty')
    stored = (0, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(data)) as image:
                stored = image.size
                image.load()
    except Image.DecompressionBombError:
        most = f'{2 * Image.MAX_IMAGE_PIXELS:,}'
        return ImageFact('decompression bomb', f'is not decoded, because its header declares more than {most} pixels')
    except Image.UnidentifiedImageError:
        pass  # OpenCV may know the format
    except Exception as error:  # Pillow's decoders raise errors of many types
        kind = 'truncated image' if 'truncated' in str(error).lower() else 'unreadable image'
        return ImageFact(kind, f'cannot be decoded: {str(error).partition(" (")[0]}')
    return _decoded(data, stored)


def start_worker() -> None:
    """Prepare a separate process for :func:`check_image`: the decoders' messages go to a file that is read later."""
    cv2.setNumThreads(0)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    global _messages
    _messages = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process runs
    os.dup2(_messages.fileno(), _STDERR)


def check_images(paths: Sequence[str]) -> list[ImageFact]:
    """Apply :func:`check_image` to several images."""
    return [check_image(path) for path in paths]


def _decoded(data: bytes, stored: tuple[int, int]) -> ImageFact:
    _new_messages()
    try:  # not decode_image, because its simplejpeg would hide libjpeg's messages about damage
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        return ImageFact('unreadable image', f'cannot be decoded by OpenCV: {error.err}')
    lines = (line for line in _new_messages().splitlines() if not _STUFFING.match(line))
    damage = next((line for line in lines if line.startswith(_DAMAGE)), None)
    if damage is not None:
        return ImageFact('truncated image', f'is damaged: libjpeg says "{damage.decode(errors="replace")}"')
    if pixels is None:
        known = 'cannot be decoded by OpenCV, which is used in training'
        return ImageFact('unreadable image', known if any(stored) else 'is not an image that Pillow or OpenCV can read')
    height, width = pixels.shape[:2]
    content = hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=16, person=f'{width}x{height}'.encode()[:16])
    return ImageFact(None, '', width, height, stored, content.hexdigest())


def _new_messages() -> bytes:
    """Return what was printed to stderr since the last call; empty in a process that is not a worker."""
    if _messages is None:
        return b''
    _messages.seek(0)
    text = _messages.read()
    _messages.seek(0)
    _messages.truncate()
    return text
