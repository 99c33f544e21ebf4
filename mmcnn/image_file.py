"""The only reader of image files, so that training, measuring and inference see the same pixels.

Only the data check (:mod:`mmcnn.datasets.check.images`) decodes by itself: it asks decoders for faults in a file,
whereas a reader tolerates them.
"""

from __future__ import annotations

import math
import os

import cv2
import numpy as np

from mmcnn.errors import DataError
from mmcnn.jpeg_header import JpegHeader, read_jpeg_header

try:
    import simplejpeg  # an extra: decodes to the same pixels as OpenCV, but faster
except ImportError:
    simplejpeg = None

#: Suffixes of the files in a folder that count as images.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_MOST_PIXELS = 2**30  # OpenCV's limit
_BLOCK = 16  # maximum number of rows that a JPEG file encodes together


def read_image_file(
    path: str | os.PathLike, reduction: int = 1, share: float = 1.0, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return the image in a file, by :func:`decode_image`.

    Raises:
        DataError: The file cannot be read or is not an image; the message names it.
    """
    path = os.fspath(path)
    try:
        with open(path, 'rb') as file:  # not cv2.imread, which cannot open non-ASCII names everywhere
            data = file.read()
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}', path) from error
    return decode_image(data, path, path, reduction, share, size)


def decode_image(
    data: bytes,
    what: str,
    path: str | None = None,
    reduction: int = 1,
    share: float = 1.0,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return an image as (ceil(H / reduction), ceil(W / reduction), 3) uint8 BGR, rotated as its EXIF data require.

    Grey images get three equal channels, alpha is dropped, of 16 bits the upper eight are kept, and the first of
    several frames or pages is returned.

    Args:
        data: The content of an image file.
        what: Its name in messages.
        path: Its file, for the error; None: it has none.
        reduction: 1, 2, 4 or 8. A JPEG decoder reduces while decoding, which takes less time; other images are averaged
            afterwards.
        share: Only this upper share of the image must be right; the rest may be undefined, unless the image's size
            differs from ``size``.
        size: (w, h) in pixels expected size of the image; None: any.

    Raises:
        DataError: It is not an image.
    """
    if not data:
        raise DataError(f'{what} is not an image that OpenCV can read: it is empty', path)
    header = read_jpeg_header(data)
    if header and size not in (None, header.size):
        share = 1.0
    image = _decode_plain_jpeg(data, header, reduction, share) if header and simplejpeg else None
    if image is not None:
        return image
    flags = _FLAGS[reduction if data[:2] == b'\xff\xd8' else 1]
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f'{what} is not an image that OpenCV can read: {error.err.strip()}', path) from error
    if image is None:
        raise DataError(f'{what} is not an image that OpenCV can read', path)
    if reduction == 1 or flags != _FLAGS[1]:
        return image
    height, width = (-(-side // reduction) for side in image.shape[:2])
    missing = height * reduction - image.shape[0], width * reduction - image.shape[1]
    image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _decode_plain_jpeg(data: bytes, header: JpegHeader, reduction: int, share: float) -> np.ndarray | None:
    """Decode a JPEG file to the same pixels as OpenCV, but faster; None: leave the file to OpenCV."""
    width, height = header.size
    if header.has_exif or header.channels not in (1, 3) or not 0 < width * height <= _MOST_PIXELS:
        return None
    rows = math.ceil(share * height) + 2 * reduction  # upsampling of colours reads the next row
    rows = min(-(-rows // _BLOCK) * _BLOCK, height) if header.in_rows else height
    cut = rows < height
    if cut:  # the decoder stops early if the header has a smaller height; it reports the rest as an error, but goes on
        data = bytearray(data)
        data[header.height_at : header.height_at + 2] = rows.to_bytes(2, 'big')
    image = np.empty((-(-height // reduction), -(-width // reduction), 3), np.uint8)
    wanted = image[: -(-rows // reduction)]
    try:
        decoded = simplejpeg.decode_jpeg(
            data,
            'BGR',
            min_height=wanted.shape[0],
            min_width=wanted.shape[1],
            min_factor=reduction,
            buffer=wanted,
            strict=not cut,
        )
    except ValueError:
        return None
    return image if decoded.shape == wanted.shape else None
