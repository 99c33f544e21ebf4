import hashlib

import pytest
import torch

import mmcnn
from mmcnn.weights import CheckpointError, mmdet, torchvision
from mmcnn.weights.addresses import fetch, is_address, resolve


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's cache of downloads, empty."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    folder = tmp_path / 'torch' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    return folder


def pretrained(checkpoint):
    return dict(type='Pretrained', checkpoint=str(checkpoint))


def test_names_become_addresses():
    assert resolve('torchvision://resnet50')[0].startswith('https://download.pytorch.org/models/resnet50-')
    assert resolve('torchvision://resnet50')[1] is torchvision.WORLD
    assert resolve('open-mmlab://darknet53')[0].endswith('/darknet53-a628ea1b.pth')
    assert resolve('open-mmlab://darknet53')[1] is mmdet.WORLD
    assert resolve('https://x.org/y.pth') == ('https://x.org/y.pth', None)
    assert is_address('torchvision://resnet50') and not is_address('/home/me/resnet50.pth')


@pytest.mark.parametrize(
    ('address', 'words'),
    [
        ('torchvision://resnet51', r'torchvision://resnet51: no such name; did you mean .*torchvision://resnet50'),
        ('s3://x/y.pth', r"there is no 's3://'; known: torchvision://, open-mmlab://, https://"),
        ('file:///not/there.pth', r'file:///not/there\.pth cannot be downloaded from'),
    ],
)
def test_what_does_not_exist_is_named(cache, address, words):
    with pytest.raises(CheckpointError, match=words):
        fetch(address)


def test_a_file_is_downloaded_once_and_held_to_its_hash(cache, tmp_path):
    data = b'some weights'
    good = tmp_path / f'net-{hashlib.sha256(data).hexdigest()[:8]}.pth'
    bad = tmp_path / 'net-0123abcd.pth'
    good.write_bytes(data)
    bad.write_bytes(data)
    assert fetch(good.as_uri()) == (cache / good.name, None)
    good.unlink()
    assert fetch(good.as_uri())[0].read_bytes() == data  # from the cache
    with pytest.raises(CheckpointError, match='invalid hash value'):
        fetch(bad.as_uri())
    assert list(cache.iterdir()) == [cache / good.name]


def test_torchvision_weights_by_name(cache, request):
    peer = request.getfixturevalue('torchvision').models.resnet18(weights=None)
    name = resolve('torchvision://resnet18')[0].rpartition('/')[2]
    torch.save(peer.state_dict(), cache / name)
    backbone = mmcnn.build_backbone('resnet18', init_cfg=pretrained('torchvision://resnet18')).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = peer.eval()
        expected = expected.layer1(expected.maxpool(expected.relu(expected.bn1(expected.conv1(x)))))
        assert torch.allclose(backbone(x)[0], expected, atol=1e-5)
    # The Keras form of another depth has other layers.
    with pytest.raises(CheckpointError, match=r'torchvision://resnet18 does not fit the model: .* missing'):
        mmcnn.build_backbone('resnet50', init_cfg=pretrained('torchvision://resnet18'))
    with pytest.raises(CheckpointError, match=r'torchvision has no weights for darknet53 \(Darknet\)'):
        mmcnn.build_backbone('darknet53', init_cfg=pretrained('torchvision://resnet18'))


def test_the_trunk_of_a_pyramid_takes_its_weights_too(cache, request):
    peer = request.getfixturevalue('torchvision').models.resnet50(weights=None)
    torch.save(peer.state_dict(), cache / resolve('torchvision://resnet50')[0].rpartition('/')[2])
    pyramid = mmcnn.build_backbone('resnet-fpn-tv', init_cfg=pretrained('torchvision://resnet50'))
    assert torch.equal(pyramid.stem.conv.weight, peer.conv1.weight)


def test_mmdetections_darknet_by_name(cache):
    from mmdet.models.backbones import Darknet

    peer = Darknet(53)
    torch.save(dict(meta={}, state_dict=peer.state_dict()), cache / 'darknet53-a628ea1b.pth')
    backbone = mmcnn.build_backbone('darknet53', init_cfg=pretrained('open-mmlab://darknet53')).eval()
    peer.train(False)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(backbone(x)[1:], peer(x), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
