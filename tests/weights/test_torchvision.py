import re

import pytest
import torch

from mmcnn.weights import CheckpointError
from mmcnn.weights.torchvision import WORLD
from mmcnn.weights.translate import OtherRowError


def test_published_densenets_have_older_names(torchvision):
    with torch.device('meta'):
        state = torchvision.models.densenet121(weights=None).state_dict()
    old = {re.sub(r'(denselayer\d+\.(?:norm|conv))(\d)', r'\1.\2', key): value for key, value in state.items()}
    assert 'features.denseblock1.denselayer1.norm.1.weight' in old and not old.keys() <= state.keys()
    new = WORLD.translate(state, 'densenet121-tv').state
    assert {key: id(value) for key, value in WORLD.translate(old, 'densenet121-tv').state.items()} == {
        key: id(value) for key, value in new.items()
    }


@pytest.mark.parametrize(
    ('network', 'row', 'fitting'),
    [
        ('mobilenet_v2', 'mobilenetv2', 'mobilenetv2-tv'),
        ('mobilenet_v3_small', 'mobilenetv3-small', 'mobilenetv3-small-tv or mobilenetv3-large-tv'),
        ('efficientnet_b0', 'efficientnet-b0', 'efficientnet-b0-tv or'),
        ('densenet121', 'densenet121', 'densenet121-tv or'),
    ],
)
def test_rows_of_another_form_are_refused(torchvision, network, row, fitting):
    with torch.device('meta'):
        state = torchvision.models.get_model(network, weights=None).state_dict()
    with pytest.raises(OtherRowError, match=rf"torchvision's network has .*, {row} has .*; they fit {fitting}"):
        WORLD.translate(state, row)
    assert WORLD.translate(state, f'{row}-tv').left_out == {}


def test_other_networks_are_refused(torchvision):
    with torch.device('meta'):
        state = torchvision.models.resnet18(weights=None).state_dict()
    with pytest.raises(CheckpointError, match=r'keys of the file are unknown here: conv1\.weight, bn1\.weight'):
        WORLD.translate(state, 'vgg16')
