"""The RoI extractor against MMDetection's: features and gradients."""

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor as Theirs

from mmcnn.models.roi_heads import SingleRoIExtractor

SETTINGS = dict(roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=2), out_channels=2, finest_scale=14)


def maps(levels=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    sizes = [32 >> level for level in range(levels)]
    return [torch.randn(2, 2, n, n, generator=generator).to(dtype).requires_grad_() for n in sizes]


def rois(count, largest):
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(count, 2, generator=generator) * 60
    sides = torch.rand(count, 2, generator=generator) * largest + 2
    image = torch.randint(0, 2, (count, 1), generator=generator).float()
    return torch.cat([image, corners, corners + sides], 1)


@pytest.mark.parametrize('levels', [1, 3])
@pytest.mark.parametrize(('count', 'largest'), [(40, 120), (40, 10), (0, 10)])  # on all levels, on one, on none
@pytest.mark.parametrize('factor', [None, 1.5])
def test_features_and_gradients_are_mmdetections(levels, count, largest, factor):
    results = []
    for kind in (SingleRoIExtractor, Theirs):
        features = maps(levels)
        found = kind(featmap_strides=[4, 8, 16][:levels], **SETTINGS)(features, rois(count, largest), factor)
        if levels > 1 or count:
            (found * torch.arange(found.numel()).view_as(found)).sum().backward()
        results.append((found.detach(), [each.grad for each in features]))
    assert torch.equal(results[0][0], results[1][0])
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(ours, theirs) if theirs is not None else ours is None


def test_half_precision_is_pooled_in_float32():
    extractor = SingleRoIExtractor(featmap_strides=[4, 8, 16], **SETTINGS)
    half, boxes = maps(dtype=torch.bfloat16), rois(40, 120)
    found = extractor(half, boxes)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, extractor([each.float() for each in half], boxes).bfloat16())
