"""MMDetection's RoI extractor, which asks the device once for the RoIs of all levels instead of level by level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor as _SingleRoIExtractor
from torch import Tensor

from mmcnn.registry import MODELS


@MODELS.register_module()
class SingleRoIExtractor(_SingleRoIExtractor):
    """MMDetection's ``SingleRoIExtractor``: same arguments, and the same features and gradients."""

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Return the features (R, C, size, size) of RoIs.

        Args:
            feats: (N, C, H, W) of each level, fine to coarse; half precision is pooled in float32.
            rois: (R, 5): index of the image, and xyxy in pixels of the network's input.
            roi_scale_factor: factor by which RoIs are enlarged before pooling.
        """
        if len(feats) == 1:
            return super().forward(feats, rois, roi_scale_factor)
        dtype = feats[0].dtype
        precision = torch.promote_types(dtype, torch.float32)
        feats, rois = [level.to(precision) for level in feats], rois.to(precision)
        levels, order = self.map_roi_levels(rois, len(feats)).sort(stable=True)
        ends = torch.searchsorted(levels, torch.arange(len(feats), device=levels.device), right=True).tolist()
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        rois = rois[order]
        pooled, absent = [], 0.0
        for start, end, maps, layer in zip([0, *ends], ends, feats, self.roi_layers, strict=False):
            if end > start:
                pooled.append(layer(maps, rois[start:end]))
            else:  # A level without RoIs has a gradient of 0, not none: all ranks reduce the same weights.
                absent = absent + maps.sum() * 0.0
        size = (len(rois), self.out_channels, *self.roi_layers[0].output_size)
        found = feats[0].new_zeros(size)
        if pooled:
            found = found.index_copy(0, order, torch.cat(pooled))
        return (found + absent).to(dtype)
