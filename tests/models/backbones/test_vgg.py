import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mmcnn

# Total and trainable parameters: Table 2 of the paper has 133, 133, 138 and 144 million; BatchNorm adds 4 and 2 per
# channel.
COUNTS = {
    'vgg11': (132_863_336, 132_863_336),
    'vgg13': (133_047_848, 133_047_848),
    'vgg16': (138_357_544, 138_357_544),
    'vgg19': (143_667_240, 143_667_240),
    'vgg11-bn': (132_874_344, 132_868_840),
    'vgg13-bn': (133_059_624, 133_053_736),
    'vgg16-bn': (138_374_440, 138_365_992),
    'vgg19-bn': (143_689_256, 143_678_248),
}
# Convolutions: the number in the name minus the three fully connected layers.
CONVS = {'vgg11': 8, 'vgg13': 10, 'vgg16': 13, 'vgg19': 16}
# Maps of a 224 x 224 image between the pools of Table 1: (channels, side) of levels 0 to 5.
SHAPES = [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14), (512, 7)]


@pytest.mark.parametrize('name', COUNTS)
def test_published_counts(name):
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(name)
    assert mmcnn.count_parameters(classifier) == COUNTS[name]
    convs = [m for m in classifier.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == CONVS[name.removesuffix('-bn')]
    assert all(m.kernel_size == (3, 3) and m.bias is not None for m in convs)


@pytest.mark.parametrize('name', COUNTS)
def test_maps_of_the_paper(name):
    with torch.device('meta'):
        maps = mmcnn.build_backbone(name, out_indices=range(6))(torch.empty(1, 3, 224, 224))
    assert [(x.shape[1], x.shape[2]) for x in maps] == SHAPES


def test_last_level_is_the_last_pool():
    backbone = mmcnn.build_backbone('vgg16', widen_factor=0.0625, out_indices=(4, 5))
    assert not list(backbone.stage5.parameters())
    last, pooled = backbone(torch.randn(1, 3, 97, 130))
    assert torch.equal(pooled, F.max_pool2d(F.pad(last, (0, 1, 0, 1), value=-1), 2))  # 7 x 9: an odd row and column
    assert (last >= 0).all()


def test_hidden_layers_of_the_classifier():
    top = mmcnn.build_classifier('vgg11', num_classes=7, widen_factor=0.0625).top
    assert [(m.in_features, m.out_features) for m in (*top.hidden, top.classes)] == [
        (49 * 32, 256), (256, 256), (256, 7),
    ]  # fmt: skip
