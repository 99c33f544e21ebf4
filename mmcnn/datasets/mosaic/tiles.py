"""The warp engine of the mixing transforms: every source image is drawn onto the output with one interpolation.

Pixel convention, everywhere in this folder: coordinates are continuous, pixel ``i`` covers ``[i, i + 1]`` and its
centre is at ``i + 0.5``; an image of width W spans ``[0, W]``, the same frame as the boxes. A resize from w to W pixels
is then simply ``x * W / w``, and matrices compose without corrections. OpenCV's warps count from pixel centre to
pixel centre; only :func:`draw_tile` converts.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

_ROUNDING = 1e-6  # maximum rounding error of sums of products, in pixels


def placement(source_size: tuple[int, int], rectangle: tuple[float, float, float, float]) -> np.ndarray:
    """Return the (2, 3) matrix that resizes an image of ``source_size`` (w, h) to fill ``rectangle`` (xyxy, pixels)."""
    w, h = source_size
    x1, y1, x2, y2 = rectangle
    return np.array((((x2 - x1) / w, 0.0, x1), (0.0, (y2 - y1) / h, y1)))


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix of applying ``inner`` first and ``outer`` to its result."""
    # Plain numbers, here and below: for so few, NumPy's calls take longer than the arithmetic.
    (a, b, x), (c, d, y) = outer.tolist()
    (p, q, u), (r, s, v) = inner.tolist()
    return np.array(
        (
            (a * p + b * r, a * q + b * s, a * u + b * v + x),
            (c * p + d * r, c * q + d * s, c * u + d * v + y),
        )
    )


def transform_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the axis-aligned hulls, (N, 4) xyxy, of ``boxes`` (N, 4) after the (2, 3) ``matrix``."""
    (a, b, x), (c, d, y) = matrix.tolist()
    if b == c == 0 and a > 0 and d > 0:
        return boxes * (a, d, a, d) + (x, y, x, y)
    low, high = boxes[:, :2], boxes[:, 2:]
    linear = matrix[:, :2].T
    centres = (low + high) @ (linear / 2) + matrix[:, 2]
    halves = (high - low) @ (np.abs(linear) / 2)
    return np.concatenate((centres - halves, centres + halves), axis=1)


def clip_boxes(boxes: np.ndarray, rectangle: tuple[float, float, float, float]) -> np.ndarray:
    """Return ``boxes`` (N, 4) clipped to ``rectangle``, both xyxy; a box outside gets zero width or height."""
    x1, y1, x2, y2 = rectangle
    return np.minimum(np.maximum(boxes, (x1, y1, x1, y1)), (x2, y2, x2, y2))


def scales(matrix: np.ndarray) -> tuple[float, float]:
    """Return the length of a source pixel in output pixels, along the source's x and y."""
    (a, b, _), (c, d, _) = matrix.tolist()
    return math.hypot(a, c), math.hypot(b, d)


def tile_bounds(
    matrix: np.ndarray, region: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Return the pixels (x1, y1, x2, y2) of an output of ``size`` (w, h) that ``region`` can reach; None: none."""
    x1, y1, x2, y2 = _hull(matrix, region)
    left, right = max(_first_pixel(x1), 0), min(_first_pixel(x2), size[0])
    top, bottom = max(_first_pixel(y1), 0), min(_first_pixel(y2), size[1])
    return None if left >= right or top >= bottom else (left, top, right, bottom)


def visible_part(
    matrix: np.ndarray,
    region: tuple[float, float, float, float],
    bounds: tuple[int, int, int, int],
    size: tuple[int, int],
) -> tuple[int, int, int, int] | None:
    """Return the pixels (x1, y1, x2, y2) of an image of ``size`` (w, h) that ``bounds`` can read, and one around them.

    None: there are none. For a rotated region, the bounds may include a corner that the region itself does not reach.
    """
    x1, y1, x2, y2 = _hull(cv2.invertAffineTransform(matrix), bounds)
    left, top, right, bottom = (
        max(math.floor(max(x1, region[0])) - 1, 0),
        max(math.floor(max(y1, region[1])) - 1, 0),
        min(math.ceil(min(x2, region[2])) + 1, size[0]),
        min(math.ceil(min(y2, region[3])) + 1, size[1]),
    )
    return (left, top, right, bottom) if left < right and top < bottom else None


def draw_tile(
    canvas: np.ndarray,
    image: np.ndarray,
    matrix: np.ndarray,
    region: tuple[float, float, float, float],
    bounds: tuple[int, int, int, int],
) -> None:
    """Draw a part of an image onto ``canvas`` (H, W, 3) uint8 BGR, in place, bilinearly.

    A pixel belongs to the tile whose region contains the pixel's centre (or, if the matrix rotates or shears, touches
    the pixel), so that tiles with a common edge meet without a gap and without blending. Only the pixels of the
    region's bounds are computed.

    Args:
        canvas: The output.
        image: (h, w, 3) uint8 BGR.
        matrix: (2, 3) float, pixels of the image -> output pixels.
        region: The part to show, (x1, y1, x2, y2) in pixels of the image; it becomes a rectangle in the output, or a
            parallelogram if the matrix rotates or shears.
        bounds: Result of :func:`tile_bounds`.
    """
    left, top, right, bottom = bounds
    target = canvas[top:bottom, left:right]
    shrunk, to_canvas = shrink(image, matrix)
    x, y = shrunk.shape[1] / image.shape[1], shrunk.shape[0] / image.shape[0]
    shown = region[0] * x, region[1] * y, region[2] * x, region[3] * y
    if _resize(target, shrunk, to_canvas, shown, bounds):
        return
    part = visible_part(to_canvas, shown, bounds, shrunk.shape[1::-1])
    if part is None:
        return
    # From continuous coordinates to OpenCV's centre-based ones, for the part and the target.
    (a, b, x), (c, d, y) = to_canvas.tolist()
    u, v = part[0] + 0.5, part[1] + 0.5
    to_target = np.array(((a, b, a * u + b * v + x - 0.5 - left), (c, d, c * u + d * v + y - 0.5 - top)))
    # OpenCV warps four channels more than twice as fast as three (0.8 instead of 2.0 ms for 640 x 640 pixels).
    patch = cv2.warpAffine(
        cv2.cvtColor(shrunk[part[1] : part[3], part[0] : part[2]], cv2.COLOR_BGR2BGRA),
        to_target,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if b == 0 and c == 0:
        cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR, dst=target)
        return
    inside = np.zeros(target.shape[:2], np.uint8)
    fraction_bits = 8
    corners = np.array(_corners(matrix, region)) - 0.5 - (left, top)
    cv2.fillConvexPoly(inside, np.rint(corners * 2**fraction_bits).astype(np.int32), 1, shift=fraction_bits)
    cv2.copyTo(cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR), inside, target)


def _resize(
    target: np.ndarray,
    image: np.ndarray,
    matrix: np.ndarray,
    region: tuple[float, float, float, float],
    bounds: tuple[int, int, int, int],
) -> bool:
    """Fill ``target``, the pixels of ``bounds``, by OpenCV's resize if possible; return whether it was.

    A resize takes half the time of a warp, but counts from a corner of its output: a corner of the image must be at a
    corner of a pixel. If the tile extends to the left or upwards from there, the mirror image is drawn.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    if b or c:
        return False
    columns = _count_from_corner(a, x, (region[0], region[2]), (bounds[0], bounds[2]), image.shape[1])
    rows = _count_from_corner(d, y, (region[1], region[3]), (bounds[1], bounds[3]), image.shape[0])
    if columns is None or rows is None:
        return False
    part = _mirrored(image[rows.source, columns.source], columns.backwards, rows.backwards)
    drawn = cv2.resize(part, None, fx=abs(a), fy=abs(d), interpolation=cv2.INTER_LINEAR)
    drawn = drawn[rows.drawn, columns.drawn]
    _mirrored(drawn, columns.backwards != (a < 0), rows.backwards != (d < 0), target)
    return True


class _Axis(NamedTuple):
    """How a resize draws one axis: the pixels of the image, the direction, and the used part of the result."""

    source: slice
    backwards: bool
    drawn: slice


def _count_from_corner(
    scale: float, shift: float, region: tuple[float, float], bounds: tuple[int, int], length: int
) -> _Axis | None:
    """Return one axis of :func:`_resize`: ``region`` of the image's ``length`` pixels, ``bounds`` of the output."""
    for backwards, edge in ((False, 0), (True, length)):
        start = round(scale * edge + shift)
        if abs(region[backwards] - edge) > _ROUNDING or abs(scale * edge + shift - start) > _ROUNDING:
            continue
        leftwards = backwards != (scale < 0)
        unseen, count = (start - bounds[1], start - bounds[0]) if leftwards else (bounds[0] - start, bounds[1] - start)
        if unseen > count // 4:  # drawing the unused part would take longer than the warp
            continue
        taken = min(math.ceil(count / abs(scale)) + 1, length)  # and one more for the last taps
        source = slice(length - taken, length) if backwards else slice(taken)
        return _Axis(source, backwards, slice(unseen, count))
    return None


def _mirrored(image: np.ndarray, left_right: bool, top_bottom: bool, target: np.ndarray | None = None) -> np.ndarray:
    if left_right or top_bottom:
        return cv2.flip(image, -1 if left_right and top_bottom else int(left_right), dst=target)
    if target is None:
        return image
    target[:] = image
    return target


def is_shrunk(matrix: np.ndarray) -> bool:
    """Return whether :func:`shrink` would change the image."""
    return min(scales(matrix)) <= 0.5


def shrink(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average whole blocks of pixels first if the matrix shrinks to half or less: bilinear taps would skip some.

    Returns:
        An image, the given one if nothing is averaged, and the matrix of its pixels.
    """
    height, width = image.shape[:2]
    if not is_shrunk(matrix):
        return image, matrix
    scale_x, scale_y = scales(matrix)
    new_width = max(1, width // max(1, int(1 / scale_x + 1e-9)))
    new_height = max(1, height // max(1, int(1 / scale_y + 1e-9)))
    image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return image, matrix * (width / new_width, height / new_height, 1.0)


def _corners(matrix: np.ndarray, region: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    (a, b, x), (c, d, y) = matrix.tolist()
    x1, y1, x2, y2 = region
    return [(a * u + b * v + x, c * u + d * v + y) for u, v in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]


def _hull(matrix: np.ndarray, region: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return the axis-aligned hull, xyxy, of ``region`` after the (2, 3) ``matrix``."""
    (a, b, x), (c, d, y) = matrix.tolist()
    x1, y1, x2, y2 = region
    u, v = a * (x1 + x2) + b * (y1 + y2), c * (x1 + x2) + d * (y1 + y2)
    w, h = abs(a) * (x2 - x1) + abs(b) * (y2 - y1), abs(c) * (x2 - x1) + abs(d) * (y2 - y1)
    return (u - w) / 2 + x, (v - h) / 2 + y, (u + w) / 2 + x, (v + h) / 2 + y


def _first_pixel(edge: float) -> int:
    """Return the first pixel whose centre is at or past ``edge``, or before it by no more than a rounding error."""
    return math.ceil(edge - 0.5 - _ROUNDING)
