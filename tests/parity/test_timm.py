"""Our networks against timm's, with the same weights."""

import pytest
import torch

from mmcnn.registry import backbone_families
from mmcnn.weights.timm import WORLD

# ours: (timm's, input size)
PEERS = {
    'resnext101-32x4d': ('resnext101_32x4d', 224),
    'inceptionv4-timm': ('inception_v4', 299),
    'inception-resnet-v2-timm': ('inception_resnet_v2', 299),
    'xception-timm': ('legacy_xception', 299),
    'darknet53-timm': ('darknet53', 256),
    'cspdarknet53-timm': ('cspdarknet53', 256),
    'cspresnet50': ('cspresnet50', 256),
    'cspresnext50': ('cspresnext50', 256),
    'vovnet39': ('vovnet39a', 224),
    'vovnet57': ('vovnet57a', 224),
    'vovnetv2-19': ('ese_vovnet19b', 224),
    'vovnetv2-39': ('ese_vovnet39b', 224),
    'vovnetv2-57': ('ese_vovnet57b', 256),
    'vovnetv2-99': ('ese_vovnet99b', 224),
}


@pytest.mark.parametrize('variant', PEERS)
def test_same_logits(timm, random_statistics, compare, variant):
    name, size = PEERS[variant]
    if timm.is_model(name):
        peer = timm.create_model(name, pretrained=False)
    else:  # timm has the numbers of this one, but no name for it
        peer = timm.models.vovnet.VovNet(timm.models.vovnet.model_cfgs[name])
    random_statistics(peer)
    with torch.no_grad():
        compare(variant, WORLD.translate(peer.state_dict(), variant).state, peer, f'timm {name}', size)


@pytest.mark.parametrize('variant', PEERS)
def test_image_format_is_that_of_its_weights(timm, variant):
    name, size = PEERS[variant]
    published = timm.get_pretrained_cfg(name)
    image = backbone_families()[variant].variants[variant].image
    assert image.size == size and image.order == 'rgb'
    if published is None or not published.has_weights:
        return
    assert published.input_size == (3, size, size)
    assert image.mean == pytest.approx([255 * m for m in published.mean])
    assert image.std == pytest.approx([255 * s for s in published.std])
