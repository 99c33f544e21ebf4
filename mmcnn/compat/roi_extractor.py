"""Makes MMDetection's SingleRoIExtractor keep RoI coordinates in float32 when features are of half precision.

Version 3.3.0 casts RoIs to the type of the features. In float16 a coordinate beyond 512 px is then off by up to a
quarter of a pixel (bfloat16: 2), and the area of a RoI of more than 256 x 256 px is infinite, so that it is pooled from
the coarsest level.
"""

import functools
import sys

import torch


def install() -> None:
    """Make the class pool half-precision features in float32, once; its module has been imported."""
    module = sys.modules['mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor']
    extractor = module.SingleRoIExtractor  # an import would wait for mmdet.models
    original = extractor.forward
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def forward(self, feats, rois, *args, **kwargs):
        dtype = feats[0].dtype
        if dtype in (torch.float16, torch.bfloat16):
            feats = tuple(level.float() for level in feats)
        return original(self, feats, rois, *args, **kwargs).to(dtype)

    extractor.forward = forward
