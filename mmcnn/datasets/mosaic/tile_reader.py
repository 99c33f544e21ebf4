"""Cached reading of the source images of tiles, decoded only as far as needed."""

from collections.abc import Callable

import numpy as np

from mmcnn.datasets.mosaic.plan import Tile, reduction_for
from mmcnn.datasets.mosaic.shared_image_cache import SharedImageCache
from mmcnn.datasets.mosaic.tiles import is_shrunk, scales, visible_part
from mmcnn.image_file import read_image_file


class TileReader:
    """Reads the images of tiles.

    With a cache, images are decoded at their tile's ``reduction``, whether or not the cache has room: the appearance
    of a tile depends only on the plan. Without one, a tile that is drawn even smaller is decoded at an even smaller
    scale, and only down to its lowest visible row.

    Args:
        path: Returns the path of an image by its index.
        cache: Cache of images; None: each is decoded every time.
        optional: Whether a copy for a process that is not forked does without the cache, which it cannot share.
    """

    def __init__(
        self, path: Callable[[int], str], cache: SharedImageCache | None = None, optional: bool = False
    ) -> None:
        self.path = path
        self.cache = cache
        self._optional = optional
        self._as_planned = cache is not None

    def __getstate__(self) -> dict:
        return {**self.__dict__, 'cache': None} if self._optional else self.__dict__

    def __call__(self, tile: Tile, bounds: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """Return the image of ``tile``, (h, w, 3) uint8 BGR; not to be written to.

        Args:
            tile: The tile to draw.
            bounds: The pixels (x1, y1, x2, y2) of the output to draw. Parts of the image that they do not need are
                undefined. None: all of it is needed.

        Raises:
            DataError: The file cannot be read; the message names it.
        """
        if not self._as_planned:
            reduction = max(tile.reduction, reduction_for(1 / max(scales(tile.matrix))))
            whole = bounds is None or is_shrunk(tile.matrix * (reduction, reduction, 1))
            part = (0, 0, *tile.size) if whole else visible_part(tile.matrix, tile.region, bounds, tile.size)
            share = part[3] / tile.size[1] if part else 0.0
            return read_image_file(self.path(tile.index), reduction, share, tile.size)
        image = None if self.cache is None else self.cache.get(tile.index)
        if image is None:
            image = read_image_file(self.path(tile.index), tile.reduction)
            if self.cache is not None:
                self.cache.put(tile.index, image)
        return image
