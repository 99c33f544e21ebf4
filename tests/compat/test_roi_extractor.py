"""With mmcnn imported, MMDetection's SingleRoIExtractor does not round the coordinates of RoIs."""

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

from mmcnn.compat import roi_extractor

ROIS = torch.tensor([[0, 801.24, 3.3, 901.77, 60.1], [1, 100, 100, 400, 420], [0, 5, 5, 30, 44]])


@pytest.fixture
def extractor():
    return SingleRoIExtractor(dict(type='RoIAlign', output_size=7, sampling_ratio=2), 3, [4, 8, 16, 32])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_rounds_features_alone(extractor, dtype):
    # Maps that rise by one per cell show where a RoI was read; all numbers are small enough for bfloat16.
    maps = [torch.arange(960 // s).float().expand(2, 3, 480 // s, -1) * s / 16 for s in (4, 8, 16, 32)]
    maps = [level.to(dtype) for level in maps]
    exact = extractor([level.float() for level in maps], ROIS)
    pooled = extractor(maps, ROIS)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, exact.to(dtype))


def test_a_large_roi_is_pooled_from_its_own_level(extractor):
    maps = [torch.full((2, 3, 480 // s, 960 // s), float(s), dtype=torch.float16) for s in (4, 8, 16, 32)]
    # 300 x 320 px, whose area float16 cannot hold: level floor(log2(310 / 56)) = 2, of stride 16.
    assert extractor(maps, ROIS)[:, 0, 3, 3].tolist() == [4, 16, 4]


def test_full_precision_is_left_alone_and_a_second_patch_does_nothing(extractor):
    patched = SingleRoIExtractor.forward
    roi_extractor.install()
    assert SingleRoIExtractor.forward is patched
    maps = [torch.randn(2, 3, 480 // s, 960 // s) for s in (4, 8, 16, 32)]
    assert torch.equal(extractor(maps, ROIS), patched.__wrapped__(extractor, maps, ROIS))
