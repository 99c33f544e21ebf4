"""Crops for classifiers: a random one for training, the central one for testing."""

import math

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmcnn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Cuts out a random part of an image and resizes it to ``img_scale``.

    The part has U(area) of the image's area and a log-uniform ratio of width to height; after ten parts that do not
    fit, the largest central part with an allowed ratio is used. Source: GoogLeNet (arXiv 1409.4842, section 6).

    Args:
        img_scale: Size (w, h) in pixels of the result. None: set by ``mmcnn train`` to the size that the backbone's
            published weights expect.
        area: Minimum and maximum fraction of the image's area.
        ratio: Minimum and maximum width / height.

    Raises:
        ValueError: At construction, if there is no size or the limits are invalid.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] | None = (224, 224),
        area: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        if not 0 < area[0] <= area[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(
                f'RandomResizedCrop: area is {area} and ratio {ratio}; both must be ascending, and areas must be in '
                '(0, 1]'
            )
        self.img_scale = _size('RandomResizedCrop', img_scale)
        self.area = tuple(area)
        self.ratio = tuple(ratio)

    def transform(self, results: dict) -> dict:
        """Replace ``img``, (H, W, 3) uint8, and ``img_shape``."""
        height, width = results['img'].shape[:2]
        x, y, w, h = self._part(width, height)
        return _replace(results, results['img'][y : y + h, x : x + w], self.img_scale)

    def _part(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return x, y, w, h of the part."""
        for _ in range(10):
            pixels = np.random.uniform(*self.area) * width * height
            ratio = math.exp(np.random.uniform(*np.log(self.ratio)))
            w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < w <= width and 0 < h <= height:
                return np.random.randint(width - w + 1), np.random.randint(height - h + 1), w, h
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
        return (width - w) // 2, (height - h) // 2, w, h


@TRANSFORMS.register_module()
class ResizedCenterCrop(BaseTransform):
    """Resizes an image and cuts out its centre: the usual test of ImageNet classifiers.

    The result is as if the shorter side were first resized to 1 / ``fraction`` of ``img_scale``: 224 of 256 pixels with
    7/8. Here the part is cut out first and resized once.

    Args:
        img_scale: Size (w, h) in pixels of the result; None as in :class:`RandomResizedCrop`.
        fraction: Side of the part as a fraction of the largest one that fits the image.

    Raises:
        ValueError: At construction, if there is no size or the fraction is outside of (0, 1].
    """

    def __init__(self, img_scale: tuple[int, int] | None = (224, 224), fraction: float = 7 / 8) -> None:
        if not 0 < fraction <= 1:
            raise ValueError(f'ResizedCenterCrop: fraction is {fraction}; it must be in (0, 1]')
        self.img_scale = _size('ResizedCenterCrop', img_scale)
        self.fraction = fraction

    def transform(self, results: dict) -> dict:
        """Replace ``img``, (H, W, 3) uint8, and ``img_shape``."""
        height, width = results['img'].shape[:2]
        scale = self.fraction * min(width / self.img_scale[0], height / self.img_scale[1])
        w, h = (max(1, round(side * scale)) for side in self.img_scale)
        x, y = (width - w) // 2, (height - h) // 2
        return _replace(results, results['img'][y : y + h, x : x + w], self.img_scale)


def _size(name: str, img_scale: tuple[int, int] | None) -> tuple[int, int]:
    if img_scale is None:
        raise ValueError(
            f"{name}: img_scale is None; mmcnn train and mmcnn test set the backbone's size, but elsewhere it must be "
            'given as (w, h) in pixels'
        )
    return tuple(img_scale)


def _replace(results: dict, part: np.ndarray, size: tuple[int, int]) -> dict:
    shrinks = part.shape[0] * part.shape[1] > size[0] * size[1]
    results['img'] = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    results['img_shape'] = results['img'].shape[:2]
    return results
