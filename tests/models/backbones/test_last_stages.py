"""The last stages of a backbone as a head: they compute what the whole backbone computes after a level."""

import pytest
import torch

from mmcnn.errors import MissingLevelError, UsageError
from mmcnn.models.families import build_backbone
from mmcnn.registry import MODELS


@pytest.mark.parametrize('name', ['mobilenetv2-035', 'resnet18', 'vgg11', 'vovnet27-slim', 'mobilenet-025'])
def test_it_continues_the_maps_of_its_level(name):
    torch.manual_seed(0)
    whole = build_backbone(name, out_indices=(4, 5)).eval()
    head = MODELS.build(dict(type='mmcnn.LastStages', backbone=dict(type=f'mmcnn.{name}'), after=4)).eval()
    assert (head.in_channels, head.out_channels) == whole.out_channels
    ours = set(head.state_dict())
    assert ours < set(whole.state_dict())  # with the names of the whole backbone, so that its weights fit
    assert ours or name == 'vgg11'  # its last stage is a max-pool
    head.load_state_dict({key: value for key, value in whole.state_dict().items() if key in ours})
    c4, c5 = whole(torch.rand(1, 3, 64, 96))
    torch.testing.assert_close(head(c4), c5, rtol=0, atol=0)


def test_what_has_no_such_stages_is_refused():
    with pytest.raises(MissingLevelError, match='no level 6'):
        MODELS.build(dict(type='mmcnn.LastStages', backbone=dict(type='mmcnn.vgg11'), after=5))
    with pytest.raises(UsageError, match='not a chain of stages'):
        MODELS.build(dict(type='mmcnn.LastStages', backbone=dict(type='mmcnn.resnet-fpn'), after=4))
