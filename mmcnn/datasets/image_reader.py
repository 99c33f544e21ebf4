"""The source images of tiles: only as much of them decoded as is needed, and cached."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from mmcnn.datasets.image_cache import ImageCache
from mmcnn.datasets.jpeg_header import JpegHeader, read_jpeg_header
from mmcnn.datasets.transforms.plan import Tile, reduction_for
from mmcnn.datasets.transforms.tiles import is_shrunk, scales, visible_part
from mmcnn.errors import DataError

try:
    import simplejpeg  # an extra: gives the pixels that OpenCV gives, sooner
except ImportError:
    simplejpeg = None

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_MOST_PIXELS = 2**30  # OpenCV's own bound
_BLOCK = 16  # rows that a JPEG file gives at a time, at most


class ImageReader:
    """Reads the images of tiles.

    With a cache, images are decoded at their tile's ``reduction``, whether or not the cache has room: what a tile looks
    like depends on the plan alone. Without one, a tile that is drawn smaller still is decoded at a smaller scale still,
    and no further down than it is seen.

    Args:
        path: Gives the path of an image by its number.
        cache: Where images are looked for and put; None: each is decoded each time.
    """

    def __init__(self, path: Callable[[int], str], cache: ImageCache | None = None) -> None:
        self.path = path
        self.cache = cache

    def __call__(self, tile: Tile, bounds: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """The image of ``tile``, (h, w, 3) uint8 BGR; not to be written to.

        Args:
            tile: What is going to be drawn.
            bounds: The pixels (x1, y1, x2, y2) of the output that it is drawn to. What they do not need of the image is
                left undefined. None: all of it is needed.

        Raises:
            DataError: The file cannot be read; the message names it.
        """
        if self.cache is None:
            reduction = max(tile.reduction, reduction_for(1 / max(scales(tile.matrix))))
            whole = bounds is None or is_shrunk(tile.matrix * (reduction, reduction, 1))
            part = (0, 0, *tile.size) if whole else visible_part(tile.matrix, tile.region, bounds, tile.size)
            share = part[3] / tile.size[1] if part else 0.0
            return decode(self.path(tile.index), reduction, share, tile.size)
        image = self.cache.get(tile.index)
        if image is None:
            image = decode(self.path(tile.index), tile.reduction)
            self.cache.put(tile.index, image)
        return image


def decode(path: str, reduction: int = 1, share: float = 1.0, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image file as (ceil(h / reduction), ceil(w / reduction), 3) uint8 BGR, turned as its EXIF data say.

    A JPEG decoder reduces as it decodes, which takes less time; other files are averaged afterwards. Only the upper
    ``share`` of the image need be right; what is below may be left undefined, unless the file's size (w, h) is another
    than ``size``.

    Raises:
        DataError: The file cannot be read; the message names it.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}', path) from error
    header = read_jpeg_header(data)
    if header and size not in (None, header.size):
        share = 1.0
    image = _decode_plain_jpeg(data, header, reduction, share) if header and simplejpeg else None
    if image is not None:
        return image
    flags = _FLAGS[reduction if data[:2] == b'\xff\xd8' else 1]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise DataError(f'{path} is no image that can be decoded', path)
    if reduction == 1 or flags != _FLAGS[1]:
        return image
    height, width = (-(-side // reduction) for side in image.shape[:2])
    missing = height * reduction - image.shape[0], width * reduction - image.shape[1]
    image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _decode_plain_jpeg(data: bytes, header: JpegHeader, reduction: int, share: float) -> np.ndarray | None:
    """Decodes a JPEG file faster than OpenCV does, to the same pixels; None: OpenCV has to say what it is."""
    width, height = header.size
    if header.has_exif or header.channels not in (1, 3) or not 0 < width * height <= _MOST_PIXELS:
        return None
    rows = math.ceil(share * height) + 2 * reduction  # colours are smoothed, with those of the next row
    rows = min(-(-rows // _BLOCK) * _BLOCK, height) if header.in_rows else height
    cut = rows < height
    if cut:  # a file that says to be lower is decoded so far; the rest of it is a fault to the decoder, which it mends
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
