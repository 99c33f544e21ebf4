"""Our networks against torchvision's, with the same weights."""

from functools import partial

import pytest
import torch

from mmcnn.models.families import backbone_families

# ours: (torchvision's, input size)
PEERS = {
    **{f'vgg{depth}': (f'vgg{depth}', 224) for depth in (11, 13, 16, 19)},
    **{f'vgg{depth}-bn': (f'vgg{depth}_bn', 224) for depth in (11, 13, 16, 19)},
    'resnet18': ('resnet18', 224),
    'resnet34': ('resnet34', 224),
    'resnet50-tv': ('resnet50', 224),
    'resnet101-tv': ('resnet101', 224),
    'resnet152-tv': ('resnet152', 224),
    'resnext50-32x4d': ('resnext50_32x4d', 224),
    'resnext101-32x8d': ('resnext101_32x8d', 224),
    'resnext101-64x4d': ('resnext101_64x4d', 224),
    'inceptionv1-tv': ('googlenet', 224),
    'inceptionv3-tv': ('inception_v3', 299),
    'mobilenetv2-tv': ('mobilenet_v2', 224),
    'mobilenetv3-small-tv': ('mobilenet_v3_small', 224),
    'mobilenetv3-large-tv': ('mobilenet_v3_large', 224),
    'densenet121-tv': ('densenet121', 224),
    'densenet169-tv': ('densenet169', 224),
    'densenet201-tv': ('densenet201', 224),
    **{f'efficientnet-b{i}-tv': (f'efficientnet_b{i}', size)
       for i, size in enumerate((224, 240, 288, 300, 380, 456, 528, 600))},
}  # fmt: skip
#: Their initialisation takes scipy a minute; their auxiliary heads have no counterpart and are left out.
ARGUMENTS = {name: dict(init_weights=False, aux_logits=True) for name in ('googlenet', 'inception_v3')}
#: With published weights, which are from TensorFlow, these two convert ImageNet's normalisation inside the model
#: (transform_input). Ours have no such step, so their rows have the format after it.
TRANSFORMS_INPUT = ('googlenet', 'inception_v3')


#: One variant of each family is tested; ``make parity`` also compares the other depths and widths.
QUICK = (
    'resnet50-tv', 'resnext50-32x4d', 'inceptionv1-tv', 'inceptionv3-tv', 'mobilenetv2-tv', 'mobilenetv3-large-tv',
    'densenet121-tv', 'efficientnet-b0-tv',
)  # fmt: skip
SLOW = ('vgg11', 'vgg11-bn', 'resnet18', 'resnext101-64x4d')
TIERS = dict.fromkeys(QUICK, ()) | dict.fromkeys(SLOW, pytest.mark.slow)


@pytest.mark.parametrize('variant', [pytest.param(v, marks=TIERS.get(v, pytest.mark.campaign)) for v in PEERS])
def test_same_logits(torchvision, random_statistics, compare, variant):
    name, size = PEERS[variant]
    peer = random_statistics(torchvision.models.get_model(name, weights=None, **ARGUMENTS.get(name, {})))
    report = compare(variant, partial(torch.save, peer.state_dict()), '.pth', peer, f'torchvision {name}', size)
    assert report.source == 'torchvision'
    auxiliary = [key for key in peer.state_dict() if key.lower().startswith('aux')]
    assert report.left_out == ({'auxiliary heads': tuple(auxiliary)} if name in ARGUMENTS else {})


# vgg16 and vgg19 have Keras's image format, which their published weights expect; test_keras.py tests it.
@pytest.mark.parametrize('variant', [name for name in PEERS if name not in ('vgg16', 'vgg19')])
def test_image_format_is_that_of_its_weights(torchvision, variant):
    name, size = PEERS[variant]
    weights = torchvision.models.get_model_weights(name)
    preset = getattr(weights, 'IMAGENET1K_V1', weights.DEFAULT).transforms()
    image = backbone_families()[variant].variants[variant].image
    assert image.order == 'rgb' and [image.size] == preset.crop_size == [size]
    if name not in TRANSFORMS_INPUT:
        assert image.mean == pytest.approx([255 * m for m in preset.mean])
        assert image.std == pytest.approx([255 * s for s in preset.std])


@pytest.mark.parametrize('variant', [variant for variant, (name, _) in PEERS.items() if name in TRANSFORMS_INPUT])
def test_image_format_is_that_behind_transform_input(torchvision, monkeypatch, variant):
    name, _ = PEERS[variant]
    weights = torchvision.models.get_model_weights(name).DEFAULT
    state = torchvision.models.get_model(name, weights=None, **ARGUMENTS[name]).state_dict()
    monkeypatch.setattr(type(weights), 'get_state_dict', lambda *_, **__: state)  # instead of downloading
    peer = torchvision.models.get_model(name, weights=weights, **ARGUMENTS[name])
    assert peer.transform_input
    pixels = torch.randint(0, 256, (1, 3, 8, 8)).float()
    image, preset = backbone_families()[variant].variants[variant].image, weights.transforms()

    def normalise(values, mean, std):
        return (values - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    expected = peer._transform_input(normalise(pixels / 255, preset.mean, preset.std))
    torch.testing.assert_close(normalise(pixels, image.mean, image.std), expected, rtol=1e-4, atol=1e-5)
