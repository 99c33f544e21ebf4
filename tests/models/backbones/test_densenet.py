import pytest
import torch
from torch import nn

import mmcnn

# Total and trainable parameters with the classifier, the same in Keras and torchvision.
COUNTS = {
    'densenet121': (8_062_504, 7_978_856),
    'densenet169': (14_307_880, 14_149_480),
    'densenet201': (20_242_984, 20_013_928),
}
# Table 1 of the paper at 224 x 224: side and channels of levels 1 to 5; the channels follow from the growth of 32.
SIDES = [112, 56, 28, 14, 7]
CHANNELS = {
    'densenet121': [64, 256, 512, 1024, 1024],
    'densenet169': [64, 256, 512, 1280, 1664],
    'densenet201': [64, 256, 512, 1792, 1920],
}


@pytest.mark.parametrize('form', ['', '-tv'])
@pytest.mark.parametrize('name', COUNTS)
def test_published_counts(name, form):
    with torch.device('meta'):
        classifier = mmcnn.build_classifier(name + form)
    assert mmcnn.count_parameters(classifier) == COUNTS[name]
    # The number in the name counts the convolutions and the linear layer.
    layers = [m for m in classifier.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix('densenet'))


@pytest.mark.parametrize('name', COUNTS)
def test_maps_of_the_paper(name):
    with torch.device('meta'):
        maps = mmcnn.build_backbone(name, out_indices=range(1, 6))(torch.empty(1, 3, 224, 224))
    assert [x.shape[-1] for x in maps] == SIDES
    assert [x.shape[1] for x in maps] == CHANNELS[name]


@pytest.mark.parametrize(('name', 'eps', 'momentum'), [('densenet121', 1.001e-5, 0.01), ('densenet121-tv', 1e-5, 0.1)])
def test_normalisation_of_both_worlds(name, eps, momentum):
    with torch.device('meta'):
        norms = [m for m in mmcnn.build_classifier(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 121  # two per dense layer, one per transition, the stem's and the last: 2 * 58 + 3 + 2
    assert {(m.eps, m.momentum) for m in norms} == {(eps, momentum)}


def test_a_level_is_the_concatenation_and_the_last_is_activated():
    backbone = mmcnn.build_backbone('densenet121', widen_factor=0.25, deepen_factor=0.33, out_indices=(3, 4, 5)).eval()
    level3, level4, level5 = backbone(torch.randn(1, 3, 64, 64))
    assert level3.min() < 0 and level4.min() < 0 and level5.min() >= 0
    # A stage's map starts with the output of the transition before it.
    opened = backbone.stage4.transition(level3)
    assert opened.shape[1] == level3.shape[1] // 2
    assert torch.equal(level4[:, : opened.shape[1]], opened)
