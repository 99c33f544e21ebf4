"""The source images of tiles: decoded at a reduced scale where that loses nothing, and cached."""

from collections.abc import Callable

import cv2
import numpy as np

from mmcnn.datasets.coco_folder import DataError
from mmcnn.datasets.image_cache import ImageCache
from mmcnn.datasets.transforms.plan import Tile, reduction_for
from mmcnn.datasets.transforms.tiles import scales

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class ImageReader:
    """Reads the images of tiles.

    With a cache, images are decoded at their tile's ``reduction``, whether or not the cache has room: what a tile looks
    like depends on the plan alone. Without one, a tile that is drawn smaller still is decoded at a smaller scale still.

    Args:
        path: Gives the path of an image by its number.
        cache: Where images are looked for and put; None: each is decoded each time.
    """

    def __init__(self, path: Callable[[int], str], cache: ImageCache | None = None) -> None:
        self.path = path
        self.cache = cache

    def __call__(self, tile: Tile) -> np.ndarray:
        """The image of ``tile``, (h, w, 3) uint8 BGR; not to be written to.

        Raises:
            DataError: The file cannot be read; the message names it.
        """
        if self.cache is None:
            drawn = reduction_for(1 / max(scales(tile.matrix)))
            return decode(self.path(tile.index), max(tile.reduction, drawn))
        image = self.cache.get(tile.index)
        if image is None:
            image = decode(self.path(tile.index), tile.reduction)
            self.cache.put(tile.index, image)
        return image


def decode(path: str, reduction: int = 1) -> np.ndarray:
    """An image file as (ceil(h / reduction), ceil(w / reduction), 3) uint8 BGR, turned as its EXIF data say.

    A JPEG decoder reduces as it decodes, which takes less time; other files are averaged afterwards.

    Raises:
        DataError: The file cannot be read; the message names it.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}') from error
    is_jpeg = data[:2].tobytes() == b'\xff\xd8'
    image = cv2.imdecode(data, _FLAGS[reduction if is_jpeg else 1]) if len(data) else None
    if image is None:
        raise DataError(f'{path} is no image that can be decoded')
    if is_jpeg or reduction == 1:
        return image
    height, width = (-(-side // reduction) for side in image.shape[:2])
    missing = height * reduction - image.shape[0], width * reduction - image.shape[1]
    image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
