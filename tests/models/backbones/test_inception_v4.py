import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

import mmcnn

# Channels and side of the maps of a 299 x 299 image (figures 3 and 9), strides 2 to 32.
MAPS = [(64, 147), (192, 71), (384, 35), (1024, 17), (1536, 8)]
# Sides for the same image if every layer pads.
PADDED = [150, 75, 38, 19, 10]


def on_meta(build, name, **kwargs):
    with torch.device('meta'):
        return build(name, **kwargs)


@pytest.mark.parametrize('name', ['inceptionv4', 'inception-resnet'])
def test_published_counts(name):
    classifier = on_meta(mmcnn.build_classifier, name)
    assert mmcnn.count_parameters(classifier) == (42_711_400, 42_648_232)
    norms = [m for m in classifier.modules() if isinstance(m, _BatchNorm)]
    assert sum(m.num_features for m in norms) == 31_584 and all(m.weight is None for m in norms)
    assert {m.eps for m in norms} == {1e-3}


def test_published_count_with_gamma():
    classifier = on_meta(mmcnn.build_classifier, 'inceptionv4-timm')
    assert mmcnn.count_parameters(classifier) == (42_679_816 + 2 * 31_584, 42_679_816)


def test_maps_of_the_paper():
    image = torch.empty(1, 3, 299, 299, device='meta')
    levels = dict(out_indices=(1, 2, 3, 4, 5))
    valid = on_meta(mmcnn.build_backbone, 'inceptionv4', arch=dict(padding='valid'), **levels)
    assert [tuple(x.shape[1:]) for x in valid(image)] == [(c, side, side) for c, side in MAPS]
    same = on_meta(mmcnn.build_backbone, 'inceptionv4', **levels)
    assert [x.shape[-1] for x in same(image)] == PADDED


def test_classifier_has_the_papers_padding_and_the_same_weights():
    backbone = on_meta(mmcnn.build_backbone, 'inceptionv4')
    trunk = on_meta(mmcnn.build_classifier, 'inceptionv4').backbone
    assert trunk(torch.empty(1, 3, 299, 299, device='meta'))[-1].shape == (1, 1536, 8, 8)
    shapes = [{k: v.shape for k, v in each.state_dict().items()} for each in (backbone, trunk)]
    assert shapes[0] == shapes[1]


def test_reference_tables_name_is_the_same_network():
    first, second = (on_meta(mmcnn.build_classifier, name) for name in ('inceptionv4', 'inception-resnet'))
    assert {k: v.shape for k, v in first.state_dict().items()} == {k: v.shape for k, v in second.state_dict().items()}
    assert first.image == second.image and first.image.size == 299


def test_convolutions_of_each_stage():
    """Figures 3 to 8: 3 + 8 in the stem, 7 per A, 4 in reduction A, 10 per B, 6 in reduction B, 10 per C."""
    backbone = on_meta(mmcnn.build_backbone, 'inceptionv4')
    convs = {
        name: sum(isinstance(m, torch.nn.Conv2d) for m in stage.modules()) for name, stage in backbone.named_children()
    }
    assert convs == dict(stem=3, stage2=1 + 6, stage3=1 + 4 * 7, stage4=4 + 7 * 10, stage5=6 + 3 * 10)
    assert all(m.bias is None for m in backbone.modules() if isinstance(m, torch.nn.Conv2d))
