"""The warp engine of the mixing transforms: every source image goes onto the output in one interpolation.

Pixel convention, everywhere in this folder: coordinates are continuous, pixel ``i`` covers ``[i, i + 1]`` and its
centre is at ``i + 0.5``; an image of width W spans ``[0, W]``, the same frame as the boxes. A resize from w to W pixels
is then plainly ``x * W / w``, and matrices compose without corrections. OpenCV's warps count from pixel centre to
pixel centre; :func:`draw_tile` is the one place that converts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np


class Sample(NamedTuple):
    """An image with its annotations, as plain arrays.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        boxes: (N, 4) float32, xyxy in pixels.
        labels: (N,) int64.
        ignore_flags: (N,) bool, true for crowd boxes.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore_flags: np.ndarray

    @classmethod
    def from_results(cls, results: dict) -> 'Sample':
        """The image and annotations that MMDetection's loading transforms left in ``results``."""
        boxes = results['gt_bboxes'].tensor.numpy()
        return cls(results['img'], boxes, results['gt_bboxes_labels'], results['gt_ignore_flags'])

    def write_to(self, results: dict) -> dict:
        """Replaces image and annotations of ``results``, keeping its box class; drops ``mix_results``."""
        results.pop('mix_results', None)
        results['img'] = self.image
        results['img_shape'] = self.image.shape[:2]
        results['gt_bboxes'] = type(results['gt_bboxes'])(self.boxes.astype(np.float32), clone=False)
        results['gt_bboxes_labels'] = self.labels.astype(np.int64)
        results['gt_ignore_flags'] = self.ignore_flags.astype(bool)
        return results


@dataclass(frozen=True)
class Tile:
    """A part of a source image and where it goes.

    Attributes:
        image: (h, w, 3) uint8 source.
        matrix: (2, 3) float, source pixels -> output pixels (continuous coordinates).
        region: The part to show, (x1, y1, x2, y2) in source pixels; it lands on a rectangle of the output, or on a
            parallelogram if the matrix rotates or shears.
    """

    image: np.ndarray
    matrix: np.ndarray
    region: tuple[float, float, float, float]


def placement(source_size: tuple[int, int], rectangle: tuple[float, float, float, float]) -> np.ndarray:
    """The (2, 3) matrix that resizes an image of ``source_size`` (w, h) to fill ``rectangle`` (xyxy, pixels)."""
    w, h = source_size
    x1, y1, x2, y2 = rectangle
    return np.array([[(x2 - x1) / w, 0.0, x1], [0.0, (y2 - y1) / h, y1]])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix of applying ``inner`` first and ``outer`` to its result."""
    return outer @ np.vstack([inner, [0.0, 0.0, 1.0]])


def transform_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The axis-aligned hulls, (N, 4) xyxy, of ``boxes`` (N, 4) after the (2, 3) ``matrix``."""
    points = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def clip_boxes(boxes: np.ndarray, rectangle: tuple[float, float, float, float]) -> np.ndarray:
    """``boxes`` (N, 4) clipped to ``rectangle``, both xyxy; a box outside ends with zero width or height."""
    x1, y1, x2, y2 = rectangle
    return np.clip(boxes, (x1, y1, x1, y1), (x2, y2, x2, y2))


def draw_tile(canvas: np.ndarray, tile: Tile) -> None:
    """Draws ``tile`` onto ``canvas`` (H, W, 3) uint8, in place, bilinearly.

    A pixel belongs to the tile whose region holds the pixel's centre (or, where the matrix rotates or shears, touches
    the pixel), so tiles that share an edge meet without a gap and without blending. Only the pixels of the region's
    bounds are computed.
    """
    x1, y1, x2, y2 = tile.region
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) @ tile.matrix[:, :2].T + tile.matrix[:, 2]
    height, width = canvas.shape[:2]
    left, top = np.clip(_first_pixel(corners.min(axis=0)), 0, (width, height)).tolist()
    right, bottom = np.clip(_first_pixel(corners.max(axis=0)), 0, (width, height)).tolist()
    if left >= right or top >= bottom:
        return

    image, matrix = _shrink(tile.image, tile.matrix)
    # From continuous coordinates to OpenCV's centre-based ones, and to the corner of the patch.
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5 - (left, top)
    patch = cv2.warpAffine(
        image, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    target = canvas[top:bottom, left:right]
    if matrix[0, 1] == 0 and matrix[1, 0] == 0:
        target[:] = patch
        return
    inside = np.zeros(target.shape[:2], np.uint8)
    fraction_bits = 8
    polygon = np.rint((corners - 0.5 - (left, top)) * 2**fraction_bits).astype(np.int32)
    cv2.fillConvexPoly(inside, polygon, 1, shift=fraction_bits)
    np.copyto(target, patch, where=inside[..., None].astype(bool))


def _first_pixel(edge: np.ndarray) -> np.ndarray:
    """The first pixel whose centre is at or past ``edge``; rounded, so that both sides of an edge agree on it."""
    return np.ceil(np.round(edge - 0.5, 6)).astype(int)


def _shrink(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages whole blocks of pixels first where the matrix shrinks to half or less: bilinear taps would skip some."""
    height, width = image.shape[:2]
    scale_x, scale_y = np.hypot(matrix[0, :2], matrix[1, :2])
    new_width = max(1, width // max(1, int(1 / scale_x + 1e-9)))
    new_height = max(1, height // max(1, int(1 / scale_y + 1e-9)))
    if (new_width, new_height) == (width, height):
        return image, matrix
    image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return image, matrix * (width / new_width, height / new_height, 1.0)
