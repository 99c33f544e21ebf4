"""Anchors placed as in torchvision's Faster R-CNN."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from mmcnn.registry import TASK_UTILS


@TASK_UTILS.register_module()
class TorchvisionAnchorGenerator(AnchorGenerator):
    """MMDetection's anchors with corners at whole pixels, and with strides that follow from the sizes of the maps.

    The strides differ from the nominal ones where the stride does not divide the image size: 13 columns of 800 pixels
    are 61 pixels apart, not 64.
    """

    def gen_single_level_base_anchors(self, *args, **kwargs) -> Tensor:
        """Return the anchors (A, 4) of a level around the origin, xyxy pixels."""
        return super().gen_single_level_base_anchors(*args, **kwargs).round()

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = 'cuda',
    ) -> list[Tensor]:
        """Return the anchors (H * W * A, 4) of each level, xyxy pixels.

        Args:
            featmap_sizes: (H, W) of each level, the finest first, whose nominal stride divides the image size.
            dtype: type of the anchors.
            device: device of the anchors.
        """
        (height, width), (stride_w, stride_h) = featmap_sizes[0], self.strides[0]
        height, width = height * stride_h, width * stride_w
        laid = copy.copy(self)
        laid.strides = [(width // columns, height // rows) for rows, columns in featmap_sizes]
        return super(TorchvisionAnchorGenerator, laid).grid_priors(featmap_sizes, dtype, device)
