"""Rendering of a plan: with OpenCV, or packed as tensors to be rendered on the device."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mmcnn.datasets.mosaic.plan import REDUCTIONS, Plan, Tile
from mmcnn.datasets.mosaic.tiles import draw_tile, shrink, tile_bounds, visible_part
from mmcnn.datasets.transforms.random_hsv import gain_tables, map_hsv

#: Returns the image of a tile, (h, w, 3) uint8 BGR, at any reduction, and at least the part needed for the given pixels
#: (x1, y1, x2, y2) of the output; None: all.
Read = Callable[[Tile, tuple[int, int, int, int] | None], np.ndarray]
#: Columns of a packed tile, in continuous coordinates. ``to_atlas``: output pixels -> atlas pixels, (2, 3) row by row;
#: ``region``: the visible part, and ``taps``: the part that may be read, xyxy in atlas pixels; ``window``: the part
#: that is filled first, xyxy in output pixels; ``fill``: its BGR colour; ``weight`` of its picture.
COLUMNS = {
    'to_atlas': slice(0, 6),
    'region': slice(6, 10),
    'taps': slice(10, 14),
    'window': slice(14, 18),
    'fill': slice(18, 21),
    'weight': slice(21, 22),
}
NUM_COLUMNS = 22


class Renderer:
    """Renders plans one after the other.

    Called with a plan and ``read``, it returns the image, (H, W, 3) uint8 BGR, which belongs to the caller.
    """

    def __init__(self) -> None:
        self._hsv = np.empty((0, 0, 3), np.uint8)  # reused, because new pages cost as much as the drawing

    def __call__(self, plan: Plan, read: Read) -> np.ndarray:
        """Render a plan as an image (H, W, 3) uint8 BGR."""
        (image, top, bottom), *second = (_draw(tiles, read, plan.size) for tiles in plan.pictures)
        for other, other_top, other_bottom in second:
            cv2.addWeighted(image, plan.ratio, other, 1.0 - plan.ratio, 0.0, dst=image)
            top, bottom = min(top, other_top), max(bottom, other_bottom)
        if plan.colours is None and plan.gains is None:
            return image
        if self._hsv.shape != image.shape:
            self._hsv = np.empty_like(image)
        drawn = image[top:bottom]
        map_hsv(drawn, plan.colours, plan.gains, self._hsv[top:bottom], drawn)
        for ground in (image[:top], image[bottom:]):
            if len(ground):
                colour = map_hsv(ground[:1, :1], plan.colours, plan.gains)[0, 0].tolist()
                _paint(ground, (0, 0, *ground.shape[1::-1]), colour)
        return image


def pack(plan: Plan, read: Read) -> dict[str, Tensor]:
    """Return what the device needs to draw a plan (:class:`~mmcnn.models.data_preprocessors.PlanPreprocessor`).

    It contains only the visible parts of the images, one above the other in one atlas; parts that the plan shrinks to
    half or less are averaged first, as in :class:`Renderer`.

    Returns:
        ``atlas`` (h, w, 3) uint8 BGR; ``tiles`` (pictures, tiles, ``NUM_COLUMNS``) float32, see ``COLUMNS``;
        ``colours`` (3, 256) uint8, (3, 0) for a plan without them.
    """
    parts, pictures, top = [], [], 0
    for weight, tiles in zip((plan.ratio, 1.0 - plan.ratio), plan.pictures, strict=False):
        rows = []
        for tile in tiles:
            part, row = _part(tile, read, plan.size, top)
            row[COLUMNS['weight']] = weight
            parts.append(part)
            rows.append(row)
            top += len(part)
        pictures.append(rows)
    atlas = np.zeros((max(top, 1), max(part.shape[1] for part in parts), 3), np.uint8)
    top = 0
    for part in parts:
        atlas[top : top + part.shape[0], : part.shape[1]] = part
        top += len(part)
    colours = plan.colours if plan.gains is None else gain_tables(plan.gains)
    colours = np.zeros((3, 0), np.uint8) if colours is None else colours
    return {
        name: torch.from_numpy(array)
        for name, array in (('atlas', atlas), ('tiles', np.array(pictures)), ('colours', colours))
    }


def _draw(tiles: list[Tile], read: Read, size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Draw one picture, and return the rows (from, to) beyond which there is only a background of one colour."""
    width, height = size
    canvas = np.empty((height, width, 3), np.uint8)
    rows = []
    for tile in tiles:
        bounds = tile_bounds(tile.matrix, tile.region, size)
        image = _read(tile, read, bounds)
        if tile.window is not None:
            _paint(canvas, tile.window, _fill(tile, image))
            if tile.window != (0, 0, width, height):
                rows += tile.window[1::2]
        if bounds:
            draw_tile(canvas, image, *_in_pixels_of(image, tile), bounds)
            rows += bounds[1::2]
    return canvas, min(rows, default=0), max(rows, default=1)


def _paint(canvas: np.ndarray, window: tuple[int, int, int, int], colour: Sequence[int]) -> None:
    x1, y1, x2, y2 = window
    if len(set(colour)) == 1:  # filling memory with one value is twice as fast
        canvas[y1:y2, x1:x2] = colour[0]
    else:
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colour, cv2.FILLED)


def _read(tile: Tile, read: Read, bounds: tuple[int, int, int, int] | None) -> np.ndarray | None:
    if tile.window is not None and tile.fill is None:  # its mean colour is needed
        return read(tile, None)
    return read(tile, bounds) if bounds else None


def _fill(tile: Tile, image: np.ndarray | None) -> tuple[int, int, int]:
    """Return the BGR colour of a tile's window."""
    return (tile.fill,) * 3 if tile.fill is not None else tuple(int(each) for each in cv2.mean(image)[:3])


def _in_pixels_of(image: np.ndarray, tile: Tile) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return matrix and region of a tile, converted from pixels of its source to those of the image that was read.

    A decoder that reduces 641 pixels to half returns 321, each of two pixels. Any other size means that the file
    differs from its annotation; it is then scaled to the annotated size.
    """
    height, width = image.shape[:2]
    if (width, height) == tile.size:
        return tile.matrix, tile.region
    reductions = (
        each for each in REDUCTIONS if (-(-tile.size[0] // each), -(-tile.size[1] // each)) == (width, height)
    )
    reduction = next(reductions, None)
    x, y = (reduction, reduction) if reduction else (tile.size[0] / width, tile.size[1] / height)
    return tile.matrix * (x, y, 1.0), tuple(np.divide(tile.region, (x, y, x, y)).tolist())


def _part(tile: Tile, read: Read, size: tuple[int, int], top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the visible pixels of a tile, (h, w, 3), and its row; they will be placed at (0, top) of the atlas."""
    row = np.zeros(NUM_COLUMNS, np.float32)
    bounds = tile_bounds(tile.matrix, tile.region, size)
    image = _read(tile, read, bounds)
    if tile.window is not None:
        row[COLUMNS['window']], row[COLUMNS['fill']] = tile.window, _fill(tile, image)
    if not bounds:
        return np.zeros((0, 1, 3), np.uint8), row
    matrix, region = _in_pixels_of(image, tile)
    shrunk, matrix = shrink(image, matrix)
    region = np.multiply(region, (shrunk.shape[1] / image.shape[1], shrunk.shape[0] / image.shape[0]) * 2)
    part = visible_part(matrix, tuple(region), bounds, shrunk.shape[1::-1])
    if part is None:
        return np.zeros((0, 1, 3), np.uint8), row
    left, upper, right, lower = part
    shift = np.array([-left, top - upper])
    to_atlas = cv2.invertAffineTransform(matrix)
    to_atlas[:, 2] += shift
    row[COLUMNS['to_atlas']] = to_atlas.ravel()
    row[COLUMNS['region']] = region + np.tile(shift, 2)
    row[COLUMNS['taps']] = part + np.tile(shift, 2)
    return shrunk[upper:lower, left:right], row
