"""Random hue, saturation and brightness, by lookup tables or factors on 8-bit HSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmcnn.registry import TRANSFORMS

if TYPE_CHECKING:
    from mmcnn.datasets.mosaic.plan import Plan

_LEVELS = np.arange(256, dtype=np.float64)
_HUES = 180  # OpenCV's 8-bit hue counts two degrees
_CUT_OFF = -0.499  # added before rounding to truncate: a full half would reduce whole numbers by one


class _HSV(BaseTransform):
    """A random change of the colours of an image or a plan."""

    def tables(self) -> np.ndarray:
        """Draw the new values of each level of OpenCV's 8-bit hue, saturation and value, (3, 256) uint8."""
        raise NotImplementedError(f'{type(self).__name__} must draw its tables')

    def change(self, plan: Plan) -> None:
        """Add the change to a plan, which is drawn with it."""
        plan.colours = self.tables()

    def transform(self, results: dict) -> dict:
        """Replace ``results['img']``, (H, W, 3) uint8 BGR."""
        results['img'] = map_hsv(results['img'], self.tables())
        return results


@TRANSFORMS.register_module()
class RandomHSV(_HSV):
    """Multiplies hue, saturation and value by random gains, as YOLOv5 does.

    Each channel is multiplied by 1 + U(-1, 1) * gain; hue wraps around, saturation and value are clipped.

    Args:
        hue_gain: Largest relative change of hue.
        saturation_gain: Largest relative change of saturation.
        value_gain: Largest relative change of value (brightness).

    Raises:
        ValueError: At construction, for a gain outside of [0, 1].
    """

    def __init__(self, hue_gain: float = 0.015, saturation_gain: float = 0.7, value_gain: float = 0.4) -> None:
        gains = {'hue_gain': hue_gain, 'saturation_gain': saturation_gain, 'value_gain': value_gain}
        for name, gain in gains.items():
            if not 0 <= gain <= 1:
                raise ValueError(f'RandomHSV: {name} is {gain}; it must be in [0, 1]')
        self.gains = np.array(list(gains.values()))

    def tables(self) -> np.ndarray:
        """Draw gains and return their tables (3, 256) for hue, saturation and value."""
        return gain_tables(self._gains())

    def change(self, plan: Plan) -> None:
        """Draw gains for a plan, stored as gains or as tables."""
        gains = self._gains()
        # OpenCV reads hues of 180 to 255 as 0 to 75; larger ones would be truncated.
        if (_HUES - 1) * gains[0] <= _LEVELS[-1]:
            plan.gains = gains
        else:
            plan.colours = gain_tables(gains)

    def _gains(self) -> tuple[float, float, float]:
        return tuple((1.0 + np.random.uniform(-1.0, 1.0, size=3) * self.gains).tolist())


@TRANSFORMS.register_module()
class DarknetHSV(_HSV):
    """Shifts hue and multiplies saturation and value, as Darknet does.

    Hue moves by 179 * U(-hue, hue) and wraps around; saturation is multiplied by U(1, saturation) or, with p = 1/2, by
    its inverse, value likewise by ``exposure``; both are clipped.

    Args:
        hue: Largest shift of hue, as a fraction of the circle.
        saturation: Largest factor of saturation.
        exposure: Largest factor of value (brightness).

    Raises:
        ValueError: At construction, for a negative ``hue`` or a factor below 1.
    """

    def __init__(self, hue: float = 0.1, saturation: float = 1.5, exposure: float = 1.5) -> None:
        if hue < 0:
            raise ValueError(f'DarknetHSV: hue is {hue}; it must not be negative')
        for name, factor in (('saturation', saturation), ('exposure', exposure)):
            if factor < 1:
                raise ValueError(f'DarknetHSV: {name} is {factor}; it must be at least 1')
        self.hue = hue
        self.saturation = saturation
        self.exposure = exposure

    def tables(self) -> np.ndarray:
        """Draw a change and return its tables (3, 256) for hue, saturation and value."""
        shift = 179.0 * np.random.uniform(-self.hue, self.hue)
        saturation, exposure = _factor(self.saturation), _factor(self.exposure)
        return _tables(_LEVELS + shift, _LEVELS * saturation, _LEVELS * exposure)


def _factor(largest: float) -> float:
    factor = np.random.uniform(1.0, largest)
    return factor if np.random.uniform() < 0.5 else 1.0 / factor


def _tables(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return tables for new values of the levels; fractions are truncated, as by a cast."""
    return np.stack([hue % _HUES, np.clip(saturation, 0, 255), np.clip(value, 0, 255)]).astype(np.uint8)


def gain_tables(gains: tuple[float, float, float]) -> np.ndarray:
    """Return the tables, (3, 256) uint8, that multiply hue, saturation and value by ``gains``."""
    return _tables(*(_LEVELS * gain for gain in gains))


def map_hsv(
    image: np.ndarray,
    tables: np.ndarray | None,
    gains: tuple[float, float, float] | None = None,
    hsv: np.ndarray | None = None,
    target: np.ndarray | None = None,
) -> np.ndarray:
    """Map the hue, saturation and value of a BGR image (H, W, 3) uint8 through ``tables`` (3, 256).

    If there are ``gains``, they are used instead of tables; a level is sometimes off by one. ``hsv`` is memory for the
    intermediate result, and ``target``, which may be the image, for the result; both have the image's shape.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV, dst=hsv)
    if gains is None:
        cv2.LUT(hsv, np.ascontiguousarray(tables.T)[None], dst=hsv)
    else:  # rounds, whereas tables truncate
        hue, saturation, value = gains
        matrix = ((hue, 0, 0, _CUT_OFF), (0, saturation, 0, _CUT_OFF), (0, 0, value, _CUT_OFF))
        cv2.transform(hsv, np.array(matrix), dst=hsv)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=target)
