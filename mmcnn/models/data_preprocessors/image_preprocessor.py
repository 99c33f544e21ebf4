"""Normalisation and padding of images, one batch at a time and without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.data_preprocessors import DetDataPreprocessor as _DetDataPreprocessor
from mmengine.model import ImgDataPreprocessor as _ImgDataPreprocessor
from torch import Tensor

from mmcnn.registry import MODELS

from .transfer import sent


@MODELS.register_module()
class ImgDataPreprocessor(_ImgDataPreprocessor):
    """MMEngine's ``ImgDataPreprocessor`` with the same results, in a few kernels per batch and without waits.

    MMEngine's launches five kernels for each image, and each image makes the host wait twice: for the copy of the image
    and for that of an index that swaps the channels.

    Args:
        mean: mean of each channel, or one for all; None: images are not normalised.
        std: standard deviation, likewise.
        pad_size_divisor: height and width of a batch are multiples of it.
        pad_value: value that normalised images are padded with, below and to the right.
        bgr_to_rgb: whether the channels are swapped, before ``mean`` and ``std`` are applied.
        rgb_to_bgr: the same.
        non_blocking: whether the host continues while a batch is copied to the device.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(mean, std, pad_size_divisor, pad_value, bgr_to_rgb, rgb_to_bgr, non_blocking)
        self.non_blocking = non_blocking
        self.swaps_channels = bgr_to_rgb or rgb_to_bgr
        self.has_mean = mean is not None and any(mean)  # zeros are not subtracted

    def cast_data(self, data: Any) -> Any:
        """Return the output of a data loader on the device of the model; see :func:`~.transfer.sent`."""
        return sent(data, self.device, self.non_blocking)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Turn a batch of a data loader into normalised images.

        Args:
            data: with ``inputs``: images (C, H_i, W_i) or one tensor (N, C, H, W), of any numeric type.
            training: not used.

        Returns:
            ``data`` with ``inputs`` (N, C, H, W) float32, and with ``data_samples``.

        Raises:
            ValueError: the images are not such tensors, or the number of channels does not match ``mean``.
        """
        data = self.cast_data(data)
        images = data['inputs']
        if isinstance(images, Tensor):
            images = [images] if images.dim() == 3 else images
        sizes = [tuple(image.shape) for image in images]
        channels = {size[0] if len(size) == 3 else None for size in sizes}
        expected = len(self.mean) if hasattr(self, 'mean') else 1
        if len(channels) != 1 or None in channels or (expected > 1 and expected not in channels):
            wanted = f'({expected}, H, W), as mean has {expected} values' if expected > 1 else '(C, H, W), all of one C'
            raise ValueError(f'images must have shape {wanted}, but have {", ".join(map(str, sorted(set(sizes))))}')
        data['inputs'] = self._batch(images, sizes)
        data.setdefault('data_samples', None)
        return data

    def _batch(self, images: Tensor | Sequence[Tensor], sizes: list[tuple[int, int, int]]) -> Tensor:
        divisor = self.pad_size_divisor
        height, width = (math.ceil(max(size[axis] for size in sizes) / divisor) * divisor for axis in (1, 2))
        if len(set(sizes)) == 1:
            batch = self._normalized(images if isinstance(images, Tensor) else torch.stack(list(images)))
            missing = width - sizes[0][2], height - sizes[0][1]
            return F.pad(batch, (0, missing[0], 0, missing[1]), value=self.pad_value) if any(missing) else batch
        batch = images[0].new_zeros(len(images), sizes[0][0], height, width)
        for target, image in zip(batch, images, strict=True):
            target[:, : image.shape[1], : image.shape[2]] = image
        limits = torch.tensor([size[1:] for size in sizes], dtype=torch.int32)
        rows, columns = sent(limits, batch.device)[..., None, None, None].unbind(1)
        padding = torch.arange(height, device=batch.device)[:, None] >= rows
        padding = padding | (torch.arange(width, device=batch.device) >= columns)
        return self._normalized(batch).masked_fill_(padding, self.pad_value)

    def _normalized(self, batch: Tensor) -> Tensor:
        batch = batch.flip(1) if self.swaps_channels else batch
        given, batch = batch, batch.float()
        if not hasattr(self, 'mean'):
            return batch.clone() if batch is given else batch
        if batch is given:
            batch = batch - self.mean
        elif self.has_mean:
            batch.sub_(self.mean)
        return batch.div_(self.std)


@MODELS.register_module()
class DetDataPreprocessor(_DetDataPreprocessor, ImgDataPreprocessor):
    """MMDetection's ``DetDataPreprocessor`` with the same arguments and results, in fewer kernels and without waits.

    Images are normalised as by :class:`ImgDataPreprocessor`, and copies to the device are asynchronous unless
    ``non_blocking=False``; masks, semantic maps and ``batch_augments`` are handled by MMDetection.
    """

    def __init__(self, *args: Any, non_blocking: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, non_blocking=non_blocking, **kwargs)
