"""Our networks against timm's, with the same weights."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from mmcnn.models.families import backbone_families

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
#: Rows that follow another library, which timm also has.
MORE = {
    **{f'efficientnet-b{i}-tv': f'efficientnet_b{i}' for i in range(5)},
    **{f'efficientnet-b{i}': f'tf_efficientnet_b{i}' for i in range(8)},
    'densenet121-tv': 'densenet121',
    'densenet169-tv': 'densenet169',
    'densenet201-tv': 'densenet201',
    'resnet18': 'resnet18',
    'resnet50-tv': 'resnet50',
    'vgg11': 'vgg11',
    'vgg11-bn': 'vgg11_bn',
    'resnext50-32x4d': 'resnext50_32x4d',
}


#: One of each kind among those that only timm has; the others are slow tests.
QUICK = ('xception-timm', 'cspdarknet53-timm', 'vovnet39', 'vovnetv2-19')
#: The same for MORE.
QUICK_OF_MORE = ('efficientnet-b0-tv', 'efficientnet-b0', 'densenet121-tv', 'resnet18')


@pytest.mark.parametrize('variant', [pytest.param(v, marks=[pytest.mark.slow] * (v not in QUICK)) for v in PEERS])
def test_same_logits(timm, random_statistics, compare, variant):
    name, size = PEERS[variant]
    if timm.is_model(name):
        peer = timm.create_model(name, pretrained=False)
    else:  # timm has this network's settings but has not registered it
        peer = timm.models.vovnet.VovNet(timm.models.vovnet.model_cfgs[name])
    random_statistics(peer)
    compare(variant, partial(save_file, peer.state_dict()), '.safetensors', peer, f'timm {name}', size)


@pytest.mark.parametrize(
    'variant', [pytest.param(v, marks=[pytest.mark.slow] * (v not in QUICK_OF_MORE)) for v in MORE]
)
def test_same_logits_where_others_are_the_peer(timm, random_statistics, compare, variant):
    peer = random_statistics(timm.create_model(MORE[variant], pretrained=False))
    size = 224 if 'vgg' in variant else 128  # smaller than intended, which is faster and shows as much
    name = f'timm {MORE[variant]}'
    compare(variant, partial(torch.save, peer.state_dict()), '.pth', peer, name, size, trained_alike=False)


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
