"""Our backbones against MMDetection's and MMCV's, with the same weights, from a run's checkpoints."""

import pytest
import torch
from mmcv.cnn import VGG
from mmdet.registry import MODELS

import mmcnn

# ours: (theirs, its arguments)
PEERS = {
    'darknet53': ('Darknet', dict(depth=53)),
    'resnet18': ('ResNet', dict(depth=18)),
    'resnet50-tv': ('ResNet', dict(depth=50)),
    'resnet101-tv': ('ResNet', dict(depth=101)),
    'resnext50-32x4d': ('ResNeXt', dict(depth=50, groups=32, base_width=4)),
    'resnext101-64x4d': ('ResNeXt', dict(depth=101, groups=64, base_width=4)),
    'vgg16': ('VGG', dict(depth=16)),
    'vgg16-bn': ('VGG', dict(depth=16, with_bn=True)),
}


@pytest.mark.parametrize('variant', PEERS)
def test_same_maps(random_statistics, record_property, tmp_path, variant):
    name, arguments = PEERS[variant]
    peer = random_statistics((VGG if name == 'VGG' else MODELS.get(f'mmdet.{name}'))(**arguments))
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(meta=dict(epoch=1), state_dict=peer.state_dict()), path)
    ours = mmcnn.build_backbone(variant).eval()
    report = mmcnn.load_weights(ours, path)
    path.unlink()  # pytest would keep the file
    assert not report.left_out and not report.missing
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        got, expected = ours(images)[-1], peer(images)[-1]
    assert got.shape == expected.shape and expected.std() > 1e-3 * expected.abs().max()
    difference = float((got - expected).abs().max() / expected.abs().max())
    record_property('parity', (variant, f'mmdet {name}{arguments["depth"]}', '.pth', difference))
    assert difference < 1e-4
