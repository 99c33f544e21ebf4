"""Cached reading of the source images of tiles, decoded only as far as needed."""

from collections.abc import Callable

import numpy as np

from mmcnn.datasets.mosaic.plan import Tile, reduction_for
from mmcnn.datasets.mosaic.shared_image_cache import SharedImageCache
from mmcnn.datasets.mosaic.tiles import is_shrunk, scales, visible_part
from mmcnn.image_file import read_image_file


class TileReader:
    """Reads the images of tiles.

    With a cache, images are decoded at their tile's ``reduction``, whether or not the cache has room: what a tile looks
    like depends on the plan alone. Without one, a tile that is drawn smaller still is decoded at a smaller scale still,
    and no further down than it is seen.

    Args:
        path: Gives the path of an image by its number.
        cache: Where images are looked for and put; None: each is decoded each time.
    """

    def __init__(self, path: Callable[[int], str], cache: SharedImageCache | None = None) -> None:
        self.path = path
        self.cache = cache

    def __call__(self, tile: Tile, bounds: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """Return the image of ``tile``, (h, w, 3) uint8 BGR; not to be written to.

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
            return read_image_file(self.path(tile.index), reduction, share, tile.size)
        image = self.cache.get(tile.index)
        if image is None:
            image = read_image_file(self.path(tile.index), tile.reduction)
            self.cache.put(tile.index, image)
        return image
