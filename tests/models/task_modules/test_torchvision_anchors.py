import pytest
import torch

from mmcnn.models.task_modules import TorchvisionAnchorGenerator

STRIDES = (4, 8, 16, 32, 64)


@pytest.mark.parametrize('size', [(800, 1088), (192, 224)])
def test_anchors_are_torchvision_s(torchvision, size):
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList

    sizes = [(size[0] // s, size[1] // s) for s in STRIDES[:4]]
    sizes.append(tuple(-(-side // 2) for side in sizes[3]))  # as a pool does: 25 become 13
    theirs = AnchorGenerator(tuple((8 * s,) for s in STRIDES), ((0.5, 1.0, 2.0),) * 5)
    (expected,) = theirs(ImageList(torch.zeros(1, 3, *size), [size]), [torch.zeros(1, 1, *each) for each in sizes])
    ours = TorchvisionAnchorGenerator(STRIDES, ratios=[0.5, 1.0, 2.0], scales=[8])
    found = torch.cat(ours.grid_priors(sizes, device='cpu'))
    assert torch.equal(found, expected)
    assert ours.strides == [(s, s) for s in STRIDES]  # the nominal strides are kept
