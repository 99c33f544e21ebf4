"""Width and depth multipliers for narrow forms."""

import math
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar('Row')


def scale_channels(channels: int, widen_factor: float, divisor: int = 8) -> int:
    """Return ``channels * widen_factor`` rounded up to a multiple of ``divisor`` (YOLOv5's rule); as is at factor 1."""
    if widen_factor == 1:
        return channels
    return math.ceil(channels * widen_factor / divisor) * divisor


def scale_depth(repeats: int, deepen_factor: float) -> int:
    """Return ``repeats * deepen_factor`` rounded, at least 1 (YOLOv5's rule); 0 stays 0."""
    return max(round(repeats * deepen_factor), 1) if repeats else 0


def scale_rows(rows: Sequence[Row], deepen_factor: float) -> tuple[Row, ...]:
    """Return the rows of a stage at another depth: the last rows, which keep its output; more repeat the first."""
    count = len(rows)
    return tuple(rows[max(i, 0)] for i in range(count - scale_depth(count, deepen_factor), count))


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Return the multiple of ``divisor`` nearest to ``channels``, or the next if that loses over 10 % (MobileNet)."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest
