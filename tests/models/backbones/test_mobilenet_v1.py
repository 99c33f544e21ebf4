import pytest
import torch

import mmcnn
from mmcnn.models.layers import SameConv2d

# keras.applications' parameter counts, and multiply-adds in millions (Tables 4 and 6 of the paper).
PUBLISHED = {
    'mobilenet': (4_253_864, 4_231_976, 569),
    'mobilenet-075': (2_601_976, 2_585_560, 325),
    'mobilenet-050': (1_342_536, 1_331_592, 149),
    'mobilenet-025': (475_544, 470_072, 41),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_counts(name, multiply_adds):
    total, trainable, millions = PUBLISHED[name]
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(name)
    assert mmcnn.count_parameters(classifier) == (total, trainable)
    assert multiply_adds(name) == pytest.approx(millions, abs=0.6)  # the paper rounds 149.5 down


def test_maps_of_the_papers_table(maps):
    assert maps('mobilenet', 224) == [(64, 112), (128, 56), (256, 28), (512, 14), (1024, 7)]
    assert maps('mobilenet-025', 224) == [(16, 112), (32, 56), (64, 28), (128, 14), (256, 7)]


def test_strided_convolutions_pad_as_tensorflow_does():
    convs = [m for m in mmcnn.build_backbone('mobilenet').modules() if isinstance(m, torch.nn.Conv2d)]
    strided = [m for m in convs if m.stride == (2, 2)]
    assert len(convs) == 1 + 2 * 13 and len(strided) == 5
    assert all(isinstance(m, SameConv2d) for m in strided)


def test_block_is_depthwise_then_pointwise():
    """Block 1 by hand: a 3x3 on each channel, then a matrix over the channels, each clipped to 0..6."""
    block = mmcnn.build_backbone('mobilenet-025').block1.eval()
    depthwise, pointwise = block.depthwise.conv.weight, block.pointwise.conv.weight
    with torch.no_grad():
        depthwise.mul_(20), pointwise.mul_(4)  # so that 6 is reached
        image = torch.randn(1, 8, 12, 10)
        scale = 1 / (1 + 1e-3) ** 0.5  # an untrained BatchNorm: variance 1, eps 1e-3
        windows = torch.nn.functional.pad(image, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
        middle = (torch.einsum('nchwij,cij->nchw', windows, depthwise[:, 0]) * scale).clamp(0, 6)
        expected = (torch.einsum('nchw,oc->nohw', middle, pointwise[:, :, 0, 0]) * scale).clamp(0, 6)
        assert middle.max() == 6 and expected.max() == 6
        torch.testing.assert_close(block(image), expected, rtol=1e-4, atol=1e-5)
