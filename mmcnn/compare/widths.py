"""Backbones at widths where their detectors need equal numbers of multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass

from mmengine.config import Config

from mmcnn.compare.network import multiply_adds as multiply_adds_of
from mmcnn.errors import UsageError
from mmcnn.models.wiring import backbone_of

#: Relative tolerance of the number of multiply-adds.
TOLERANCE = 0.1
#: Range of factors on the widths of a variant.
NARROWEST, WIDEST = 1 / 32, 4.0
#: Relative distance that is close enough; and maximum number of bisections, since widths are multiples of 8
#: channels and more bisections would find the same.
_CLOSE, _HALVINGS = 0.01, 14


@dataclass(frozen=True)
class Width:
    """A width, and the cost of a detector with it."""

    factor: float
    multiply_adds: int  # for one image


def set_width(cfg: Config, factor: float) -> None:
    """Set the width of the backbone in a detector's config.

    Args:
        cfg: changed in place.
        factor: factor on the widths of the variant.
    """
    backbone_of(cfg.model).widen_factor = factor


def fitted_width(cfg: Config, multiply_adds: float, size: tuple[int, int]) -> Width:
    """Return the width of a detector's backbone at which the detector is closest to a number of multiply-adds.

    Args:
        cfg: config of the detector with this backbone.
        multiply_adds: multiply-adds for one image.
        size: width and height of the network's input, pixels.

    Raises:
        UsageError: no width comes within 10 % of the number; the message gives the range.
    """

    def width(factor: float) -> Width:
        set_width(cfg, factor)
        return Width(factor, multiply_adds_of(cfg, size))

    low, high = width(NARROWEST), width(WIDEST)
    found = [low, high]
    while len(found) < _HALVINGS and abs(found[-1].multiply_adds - multiply_adds) > _CLOSE * multiply_adds:
        middle = width((low.factor + high.factor) / 2)
        found.append(middle)
        low, high = (middle, high) if middle.multiply_adds < multiply_adds else (low, middle)
    best = min(found, key=lambda each: abs(each.multiply_adds - multiply_adds))
    if abs(best.multiply_adds - multiply_adds) > TOLERANCE * multiply_adds:
        raise UsageError(
            f'backbone={backbone_of(cfg.model).type.removeprefix("mmcnn.")}: no width between '
            f'{NARROWEST:g} and {WIDEST:g} gives a detector with {multiply_adds / 1e9:.3g} G multiply-adds; the '
            f'nearest is {best.multiply_adds / 1e9:.3g} G (widen_factor={best.factor:.4g})'
        )
    return best
