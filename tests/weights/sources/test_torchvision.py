import re

import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.convert import convert
from mmcnn.weights.sources.torchvision import SOURCE
from mmcnn.weights.sources.translate import OtherRowError


def test_published_densenets_have_older_names(torchvision):
    with torch.device('meta'):
        state = torchvision.models.densenet121(weights=None).state_dict()
    old = {re.sub(r'(denselayer\d+\.(?:norm|conv))(\d)', r'\1.\2', key): value for key, value in state.items()}
    assert 'features.denseblock1.denselayer1.norm.1.weight' in old and not old.keys() <= state.keys()
    new = SOURCE.translate(state, 'densenet121-tv').state
    assert {key: id(value) for key, value in SOURCE.translate(old, 'densenet121-tv').state.items()} == {
        key: id(value) for key, value in new.items()
    }


@pytest.mark.parametrize(
    ('network', 'row', 'fitting'),
    [
        ('mobilenet_v2', 'mobilenetv2', ['mobilenetv2-tv']),
        ('mobilenet_v3_small', 'mobilenetv3-small', ['mobilenetv3-small-tv', 'mobilenetv3-large-tv']),
        ('efficientnet_b0', 'efficientnet-b0', [f'efficientnet-b{i}-tv' for i in range(8)]),
        ('densenet121', 'densenet121', [f'densenet{depth}-tv' for depth in (121, 169, 201)]),
    ],
)
def test_rows_of_another_form_are_refused(torchvision, network, row, fitting):
    with torch.device('meta'):
        state = torchvision.models.get_model(network, weights=None).state_dict()
    with pytest.raises(OtherRowError, match=rf"torchvision's network has .*, but {row} has .*") as error:
        SOURCE.translate(state, row)
    assert sorted(error.value.fitting) == sorted(fitting)
    assert SOURCE.translate(state, f'{row}-tv').left_out == {}


def test_other_networks_are_refused(torchvision):
    with torch.device('meta'):
        state = torchvision.models.resnet18(weights=None).state_dict()
    with pytest.raises(CheckpointError, match=r'keys of the file are unknown: conv1\.weight, bn1\.weight'):
        SOURCE.translate(state, 'vgg16')


@pytest.mark.slow
def test_other_images_are_said(torchvision, tmp_path):
    """torchvision's VGG takes RGB with ImageNet's mean and deviation; Keras's and ours take BGR with the mean only."""
    theirs = 'RGB, mean (123.675, 116.28, 103.53), std (58.395, 57.12, 57.375)'
    state = {key: value for key, value in torchvision.models.vgg16(weights=None).state_dict().items() if key[0] == 'f'}
    torch.save(state, tmp_path / 'x.pth')
    backbone = mmcnn.build_backbone('vgg16')
    report = mmcnn.load_weights(backbone, tmp_path / 'x.pth')
    expects = 'BGR, mean (103.939, 116.779, 123.68), std (1, 1, 1)'
    assert f'warning: trained on images in {theirs}; vgg16 expects {expects}' in str(report)
    # The record of a conversion keeps it.
    _, record = convert(tmp_path / 'x.pth', tmp_path / 'y.pth', 'vgg16')
    assert record.images == theirs
    assert f'warning: trained on images in {theirs}' in str(mmcnn.load_weights(backbone, tmp_path / 'y.pth'))
    with_norm = torchvision.models.vgg11_bn(weights=None).state_dict()
    torch.save({key: value for key, value in with_norm.items() if key[0] == 'f'}, tmp_path / 'x.pth')
    assert 'warning' not in str(mmcnn.load_weights(mmcnn.build_backbone('vgg11-bn'), tmp_path / 'x.pth'))


def test_mobilenet_v2_before_torchvisions_own_form(torchvision, tmp_path):
    """Each block is flat, and activations are numbered: ``conv.0/1/3/4`` in block 1, then ``conv.0/1/3/4/6/7``."""
    peer = torchvision.models.mobilenet_v2(weights=None).eval()
    for module in peer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
    first = {'0.0': '0', '0.1': '1', '1': '3', '2': '4'}
    others = {'0.0': '0', '0.1': '1', '1.0': '3', '1.1': '4', '2': '6', '3': '7'}
    flat = {}
    for key, value in peer.state_dict().items():
        if match := re.fullmatch(r'features\.(\d+)\.conv\.(.+)\.(\w+)', key):
            number, layer, kind = match.groups()
            key = f'features.{number}.conv.{(first if number == "1" else others)[layer]}.{kind}'
        flat[key] = value
    assert 'features.1.conv.4.bias' in flat and 'features.17.conv.7.running_var' in flat
    flat['classifier.weight'] = flat.pop('classifier.1.weight')  # some files have no dropout before it
    flat['classifier.bias'] = flat.pop('classifier.1.bias')
    torch.save(flat, tmp_path / 'x.pth')
    images = torch.randn(1, 3, 64, 64)
    classifier = mmcnn.build_classifier('mobilenetv2-tv').eval()
    report = mmcnn.load_weights(classifier, tmp_path / 'x.pth')
    assert "the names are of MobileNetV2's form before torchvision's" in report.notes
    with torch.no_grad():
        assert torch.equal(classifier(images), peer(images))
    # With a further layer in between, the file is in neither form of MobileNetV2.
    torch.save({**flat, 'features.2.conv.2.weight': torch.ones(1)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='unknown'):
        SOURCE.translate(torch.load(tmp_path / 'x.pth'), 'mobilenetv2-tv')
