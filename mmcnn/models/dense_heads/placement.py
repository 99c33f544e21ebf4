"""Conversion from the network's input back to the image: padding and scaling are undone, boxes are clipped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def placed(boxes: Tensor, counts: Sequence[int], metas: Sequence[dict], rescale: bool) -> Tensor:
    """Return boxes in the coordinates of their images.

    Args:
        boxes: (K, 4) xyxy in pixels of the network's input, one image after the other.
        counts: number of boxes of each image.
        metas: for each image ``img_shape``; with ``rescale`` also ``ori_shape``, ``scale_factor`` (w, h) and, after a
            letterbox, ``pad_param`` (top, left).
        rescale: return pixels of the original image instead of the network's input.

    Returns:
        (K, 4) xyxy, clipped to the image.
    """
    rows = [_numbers(meta, rescale) for meta in metas]
    # One copy, which the host does not wait for.
    numbers = torch.tensor(rows, dtype=boxes.dtype).repeat_interleave(torch.tensor([*counts]), dim=0)
    shift, scale, limit = numbers.view(-1, 3, 4).to(boxes.device, non_blocking=True).unbind(1)
    if rescale:
        boxes = (boxes - shift) / scale
    return torch.min(boxes.clamp(min=0), limit)


def _numbers(meta: dict, rescale: bool) -> list[float]:
    """Return padding, scale and size of an image, each for x, y, x, y."""
    height, width = meta['ori_shape' if rescale else 'img_shape'][:2]
    top, left = meta.get('pad_param', (0, 0)) if rescale else (0, 0)
    scale = meta['scale_factor'][:2] if rescale else (1, 1)
    return [*[left, top] * 2, *[*scale] * 2, *[width, height] * 2]
