"""The coder against MMDetection's, bit for bit."""

import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder as Theirs
from mmdet.structures.bbox import HorizontalBoxes

from mmcnn.models.task_modules import DeltaXYWHBBoxCoder
from mmcnn.models.task_modules.delta_bbox_coder import decoded, decodes_together

NORMALISED = dict(target_means=[0.1, 0.0, -0.1, 0.2], target_stds=[0.1, 0.1, 0.2, 0.3])


def boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 60
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * 40 + 1], 1)


@pytest.mark.parametrize('count', [17, 0])
@pytest.mark.parametrize('kind', [torch.Tensor, HorizontalBoxes])
def test_encoding(count, kind):
    pairs = [each if kind is torch.Tensor else kind(each) for each in (boxes(count), boxes(count, 1))]
    found, expected = (each(**NORMALISED).encode(*pairs) for each in (DeltaXYWHBBoxCoder, Theirs))
    assert found.shape == (count, 4) and torch.equal(found, expected)


@pytest.mark.parametrize('settings', [{}, NORMALISED, dict(clip_border=False), dict(add_ctr_clamp=True, ctr_clamp=3)])
def test_decoding_of_several_images(settings):
    deltas = torch.randn(2, 17, 4, generator=torch.Generator().manual_seed(2)) * 3
    shapes = [(50, 70), (80, 30)]
    coder = Theirs(**settings)
    expected = [coder.decode(boxes(17, i), deltas[i], max_shape=shape) for i, shape in enumerate(shapes)]
    limits = torch.tensor(shapes).flip(1).float()[:, None]
    found = decoded(coder, torch.stack([boxes(17, i) for i in range(2)]), deltas, limits)
    assert torch.equal(found, torch.stack(expected))


def test_which_coders_decode_alike():
    class Another(Theirs):
        pass

    kinds = Theirs(), DeltaXYWHBBoxCoder(), Another(), Theirs(use_box_type=True)
    assert [decodes_together(each) for each in kinds] == [True, True, False, False]
