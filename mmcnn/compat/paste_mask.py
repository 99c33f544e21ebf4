"""Makes MMDetection paste masks of boxes outside the image on the CPU as well; they are invisible.

On the CPU, ``FCNMaskHead`` pastes its masks one by one, each into the part of the image that its box covers. Outside
the image, that part would begin after its end, and mmdet 3.3.0 fails with ``RuntimeError: upper bound and lower bound
inconsistent with step sign`` (https://github.com/hustvl/QueryInst/issues/41). On a GPU, which samples the whole image,
such a mask is empty. Boxes of a QueryInst are not clipped, and are outside the image before it is trained.
"""

from __future__ import annotations

import functools
import sys

from torch import Tensor


def install() -> None:
    """Replace MMDetection's function in the module of its only caller, once; the module has been imported."""
    module = sys.modules['mmdet.models.roi_heads.mask_heads.fcn_mask_head']  # an import would wait for mmdet.models
    original = module._do_paste_mask
    if hasattr(original, 'pastes_outside'):
        return

    @functools.wraps(original)
    def do_paste_mask(masks: Tensor, boxes: Tensor, img_h: int, img_w: int, skip_empty: bool = True) -> tuple:
        if skip_empty and _is_outside(boxes, img_h, img_w):
            return masks.new_zeros(len(masks), 0, 0), (slice(0, 0), slice(0, 0))
        return original(masks, boxes, img_h, img_w, skip_empty)

    do_paste_mask.pastes_outside = True
    module._do_paste_mask = do_paste_mask


def _is_outside(boxes: Tensor, height: int, width: int) -> bool:
    """Return whether all boxes, (N, 4) in pixels, are more than a pixel, the sampled border, away from the image."""
    left, top = boxes[:, :2].amin(0).tolist()
    right, bottom = boxes[:, 2:].amax(0).tolist()
    return left - 1 >= width or top - 1 >= height or right + 1 <= 0 or bottom + 1 <= 0
