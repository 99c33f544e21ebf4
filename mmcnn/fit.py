"""Resizing of images to a detector's input size, and of boxes back to the image; needs only NumPy and OpenCV."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mmcnn.errors import UsageError

#: How the scale of an image of w x h pixels is computed from ``scale`` (W, H).
RULES = {
    'inside': lambda w, h, scale: min(scale[0] / w, scale[1] / h),
    'long-short': lambda w, h, scale: min(max(scale) / max(w, h), min(scale) / min(w, h)),
}
#: How a fractional side is rounded to whole pixels.
_ROUNDINGS = {'round': round, 'half-up': lambda side: int(side + 0.5)}
_SHRINKING = {'area': cv2.INTER_AREA, 'linear': cv2.INTER_LINEAR}
_PLACES = ('centre', 'corner')


@dataclass(frozen=True)
class Fitted:
    """An image at the size of the network's input.

    Attributes:
        image: (H, W, 3), the canvas with the resized image on it.
        size: (h, w) of the resized image, pixels.
        pad: (top, left), pixels: position on the canvas.
        scale_factor: (w, h), resized / original.
        original: (h, w) of the original image, pixels.
    """

    image: np.ndarray
    size: tuple[int, int]
    pad: tuple[int, int]
    scale_factor: tuple[float, float]
    original: tuple[int, int]

    def back(self, boxes: np.ndarray, clip: bool) -> np.ndarray:
        """Return boxes (K, 4) xyxy float32 on the canvas as boxes in the original image.

        Args:
            boxes: in pixels of the canvas.
            clip: whether to clip them to the image.
        """
        top, left = self.pad
        boxes = (boxes - np.float32([left, top] * 2)) / np.float32([*self.scale_factor] * 2)
        height, width = self.original
        return np.clip(boxes, 0, np.float32([width, height] * 2)) if clip else boxes


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Resizes an image with its aspect ratio preserved and pads it.

    mmcnn's LetterBox and MMDetection's Resize with the padding of its data preprocessor are special cases.

    Args:
        scale: (W, H) in pixels; the resized image fits into it.
        rule: 'inside': width in W and height in H; 'long-short': the longer side in the larger of the two, the shorter
            side in the smaller, as in MMCV's ``rescale_size``.
        rounding: of the resized sides: 'round', at least one pixel, halves to even; 'half-up', as in MMCV.
        shrink: interpolation for smaller sizes: 'area' or 'linear'. Enlarging is linear.
        place: position of the image on the canvas: 'centre', with an odd pixel of padding right and bottom; 'corner':
            top left.
        stride: the canvas has ceil(resized / stride + extra) * stride pixels in each direction; None: it has ``scale``.
        extra: padding beyond the image, in strides, before rounding up.
        value: of the padding, for each channel of the image.
        canvas: (H, W) in pixels of every image's canvas, in place of all this; images must fit. None: computed as
            above.

    Raises:
        UsageError: a setting is unknown.
    """

    scale: tuple[int, int]
    rule: str = 'inside'
    rounding: str = 'round'
    shrink: str = 'area'
    place: str = 'centre'
    stride: int | None = 32
    extra: float = 0.5
    value: tuple[float, float, float] = (114.0, 114.0, 114.0)
    canvas: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, known in (('rule', RULES), ('rounding', _ROUNDINGS), ('shrink', _SHRINKING), ('place', _PLACES)):
            if getattr(self, name) not in known:
                raise UsageError(f'{name}={getattr(self, name)!r} is unknown; use one of {", ".join(known)}')

    def apply(self, image: np.ndarray, dtype: type = np.uint8) -> Fitted:
        """Return an image (H, W, 3) uint8 on its canvas.

        Args:
            image: its channels have the order of ``value``.
            dtype: of the canvas: np.float32 if the padding is not a whole number.
        """
        h, w = image.shape[:2]
        height, width = self.resized(h, w)
        if (height, width) != (h, w):
            shrinks = height < h or width < w
            interpolation = _SHRINKING[self.shrink] if shrinks else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=interpolation)
        full = self.padded(height, width)
        top, left = ((full[0] - height) // 2, (full[1] - width) // 2) if self.place == 'centre' else (0, 0)
        bottom, right = full[0] - height - top, full[1] - width - left
        image = image.astype(dtype, copy=False)
        # NumPy would fill the canvas three numbers at a time.
        canvas = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=self.value)
        return Fitted(canvas, (height, width), (top, left), (width / w, height / h), (h, w))

    def resized(self, h: int, w: int) -> tuple[int, int]:
        """Return height and width of the resized image, in pixels, for an image of h x w pixels."""
        ratio = RULES[self.rule](w, h, self.scale)
        if self.canvas is not None:
            ratio = min(ratio, self.canvas[0] / h, self.canvas[1] / w)
        return tuple(max(1, _ROUNDINGS[self.rounding](side * ratio)) for side in (h, w))

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the canvas, in pixels, for a resized image of height x width."""
        if self.canvas is not None:
            return self.canvas
        if self.stride is None:
            return self.scale[1], self.scale[0]
        return tuple(math.ceil(side / self.stride + self.extra) * self.stride for side in (height, width))
