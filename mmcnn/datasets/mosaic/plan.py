"""The plan of a mixed image: everything random is drawn before any image is read.

Planning and drawing are separate, so that the same plan can be drawn by OpenCV in a data-loading process
(:class:`~mmcnn.datasets.mosaic.render.Renderer`) or for a whole batch on the device
(:class:`~mmcnn.models.data_preprocessors.PlanPreprocessor`), and invisible tiles need not be decoded.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mmcnn.datasets.mosaic.tiles import compose

#: Factors by which a JPEG decoder can reduce an image.
REDUCTIONS = (8, 4, 2, 1)


class Source(NamedTuple):
    """An image of a data set that has not been read yet, with its annotations.

    Attributes:
        index: Its index in the data set.
        size: (w, h) in pixels.
        boxes: (N, 4) float32, xyxy in pixels.
        labels: (N,) int64.
        ignore_flags: (N,) bool, true for crowd boxes.
    """

    index: int
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    ignore_flags: np.ndarray


class Tile(NamedTuple):
    """A part of a source image and its position in the output.

    Attributes:
        index: Index of the source image in the data set.
        size: Its (w, h) in pixels.
        matrix: (2, 3) float, source pixels -> output pixels (continuous coordinates).
        region: The part to show, (x1, y1, x2, y2) in source pixels.
        reduction: One of ``REDUCTIONS``: the factor by which the image may be reduced when it is decoded, because the
            recipe's reference would shrink it at least as much before drawing.
        window: (x1, y1, x2, y2) in whole output pixels, which are first filled with one colour; None: nothing.
        fill: Grey value of the window; None: the image's mean colour.
    """

    index: int
    size: tuple[int, int]
    matrix: np.ndarray
    region: tuple[float, float, float, float]
    reduction: int = 1
    window: tuple[int, int, int, int] | None = None
    fill: int | None = None

    def mirrored(self, width: int) -> 'Tile':
        """Return the horizontally flipped tile in an output of this width."""
        window = self.window and (width - self.window[2], self.window[1], width - self.window[0], self.window[3])
        return self._replace(matrix=compose(np.array(((-1.0, 0, width), (0, 1, 0))), self.matrix), window=window)


@dataclass
class Plan:
    """An output image that has not been drawn yet, and its annotations.

    Attributes:
        size: (w, h) of the output in pixels.
        pictures: One picture, or two to blend; tiles in the order of drawing, which together cover the output.
        boxes: (N, 4) float32, xyxy in output pixels.
        labels: (N,) int64.
        ignore_flags: (N,) bool.
        ratio: Weight of the first of two pictures.
        colours: (3, 256) uint8, new values of each level of OpenCV's 8-bit hue, saturation and value; None: unchanged.
        gains: Factors of hue, saturation and value, instead of ``colours`` if factors suffice; OpenCV is three times as
            fast with them.
        flipped: Whether the output is flipped horizontally.
    """

    size: tuple[int, int]
    pictures: list[list[Tile]]
    boxes: np.ndarray
    labels: np.ndarray
    ignore_flags: np.ndarray
    ratio: float = 1.0
    colours: np.ndarray | None = None
    gains: tuple[float, float, float] | None = None
    flipped: bool = False

    def mirrored(self) -> 'Plan':
        """Return the horizontally flipped plan."""
        width = self.size[0]
        boxes = self.boxes.copy()
        boxes[:, 0::2] = width - self.boxes[:, 2::-2]
        pictures = [[tile.mirrored(width) for tile in tiles] for tiles in self.pictures]
        return replace(self, pictures=pictures, boxes=boxes, flipped=not self.flipped)

    def sources(self) -> list[int]:
        """Return the indices of its images in the data set."""
        return [tile.index for tiles in self.pictures for tile in tiles]


def reduction_for(shrinkage: float) -> int:
    """Return the largest of ``REDUCTIONS`` by which an image can be reduced at reading without being enlarged later."""
    return next((each for each in REDUCTIONS if each <= shrinkage), 1)
