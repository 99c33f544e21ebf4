"""From the network's input back to the image: padding and scaling are undone, boxes end with the image."""

from __future__ import annotations

import torch
from torch import Tensor


def placed(boxes: Tensor, meta: dict, rescale: bool) -> Tensor:
    """Boxes in the image that they were found in.

    Args:
        boxes: (K, 4) xyxy, pixels at the network's input.
        meta: ``img_shape``; with ``rescale`` also ``ori_shape``, ``scale_factor`` (w, h) and, after a letterbox,
            ``pad_param`` (top, left).
        rescale: pixels of the original image instead of the network's input.

    Returns:
        (K, 4) xyxy, clipped to the image.
    """
    height, width = meta['img_shape'][:2]
    if rescale:
        top, left = meta.get('pad_param', (0, 0))
        boxes = (boxes - boxes.new_tensor([left, top] * 2)) / boxes.new_tensor([*meta['scale_factor'][:2]] * 2)
        height, width = meta['ori_shape'][:2]
    return torch.min(boxes.clamp(min=0), boxes.new_tensor([width, height] * 2))
