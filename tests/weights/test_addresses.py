import hashlib
from dataclasses import replace

import pytest
import torch

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.addresses import fetch, is_address, resolve
from mmcnn.weights.sources.catalog import CATALOG


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder as torch's download cache."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    folder = tmp_path / 'torch' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    return folder


def pretrained(checkpoint):
    return dict(type='Pretrained', checkpoint=str(checkpoint))


def test_names_become_addresses():
    found = resolve('torchvision://resnet50')
    assert found.urls == ('https://download.pytorch.org/models/resnet50-0676ba61.pth',)
    assert found.source == 'torchvision' and found.published is CATALOG['resnet50-tv/torchvision-v1']
    assert resolve('mmcnn://resnet50-tv/torchvision-v1') == found
    found = resolve('open-mmlab://darknet53')
    assert found.urls[0].endswith('/darknet53-a628ea1b.pth')
    assert found.source == 'mmdet' and found.published is CATALOG['darknet53/mmdet']
    assert resolve('torchvision://alexnet').published is None
    assert resolve('https://x.org/y.pth') == (('https://x.org/y.pth',), None, None)
    assert resolve('mmcnn://yolov4_cspdarknet53_darknet/darknet').source == 'darknet'
    assert is_address('torchvision://resnet50') and not is_address('/home/me/resnet50.pth')


@pytest.mark.parametrize(
    ('address', 'words'),
    [
        ('torchvision://resnet51', r'torchvision://resnet51: unknown name; did you mean .*torchvision://resnet50'),
        ('torchvision://shufflenetv2_x2.0', 'unknown name'),  # MMEngine lists it without a URL
        ('mmcnn://vgg16/kears', r'mmcnn://vgg16/kears.*did you mean mmcnn://vgg16/keras or '),
        ('s3://x/y.pth', r"unknown scheme 's3://'; known: mmcnn://, torchvision://, open-mmlab://, https://"),
        ('file:///not/there.pth', r'file:///not/there\.pth cannot be downloaded:'),
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
    assert fetch(good.as_uri()) == (cache / good.name, None, None)
    good.unlink()
    assert fetch(good.as_uri()).path.read_bytes() == data  # from the cache
    with pytest.raises(CheckpointError, match='invalid hash value'):
        fetch(bad.as_uri())
    assert list(cache.iterdir()) == [cache / good.name]


@pytest.fixture
def publish(monkeypatch):
    """Add an entry to the catalog: ``publish(path, ..., sha256=...)``."""

    def put(*paths, name='vgg16/ours', **facts):
        entry = replace(CATALOG['vgg16/keras'], name=name, urls=tuple(path.as_uri() for path in paths), md5='')
        monkeypatch.setitem(CATALOG, name, replace(entry, **facts))

    return put


def hash_of(kind, data):
    sha256 = hashlib.sha256(data).hexdigest()
    return dict(sha256=sha256, hash_prefix=sha256[:8], md5=hashlib.md5(data).hexdigest())[kind]


@pytest.mark.parametrize('kind', ['sha256', 'hash_prefix', 'md5'])
def test_a_file_of_the_catalog_is_held_to_its_hash(cache, tmp_path, publish, kind):
    published = tmp_path / 'weights.h5'
    published.write_bytes(b'some weights')
    publish(published, **{kind: hash_of(kind, b'other weights')})
    with pytest.raises(CheckpointError, match=r'mmcnn://vgg16/ours cannot be downloaded: file:.*invalid hash value'):
        fetch('mmcnn://vgg16/ours')
    assert not list(cache.iterdir())  # files with a wrong hash are not kept
    publish(published, **{kind: hash_of(kind, b'some weights')})
    found = fetch('mmcnn://vgg16/ours')
    assert found.path.read_bytes() == b'some weights' and list(cache.iterdir()) == [found.path]
    assert found.source == 'keras' and found.published is CATALOG['vgg16/ours']


def test_a_mirror_steps_in(cache, tmp_path, publish):
    gone, wrong, mirror = (tmp_path / name / 'weights.h5' for name in ('gone', 'wrong', 'mirror'))
    for path in (wrong, mirror):
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    publish(gone, wrong, mirror, sha256=hash_of('sha256', b'mirror'))
    assert fetch('mmcnn://vgg16/ours').path.read_bytes() == b'mirror'
    mirror.unlink()
    assert fetch('mmcnn://vgg16/ours').path.read_bytes() == b'mirror'  # from the cache
    publish(gone, wrong, name='vgg16/ours-2', sha256=hash_of('sha256', b'mirror'))
    with pytest.raises(CheckpointError, match=r'cannot be downloaded: .*/gone/.*; .*/wrong/.*invalid hash'):
        fetch('mmcnn://vgg16/ours-2')


def test_files_of_one_name_are_kept_apart():
    files = [CATALOG[name].file for name in ('resnext50-32x4d/timm-ra', 'cspresnet50/timm-ra')]
    assert files == ['resnext50-32x4d--timm-ra--model.safetensors', 'cspresnet50--timm-ra--model.safetensors']
    assert CATALOG['resnet18/torchvision-v1'].file == 'resnet18-f37072fd.pth'  # torchvision's own name in the cache


def test_torchvision_weights_by_name(cache, request):
    peer = request.getfixturevalue('torchvision').models.resnet18(weights=None)
    name = resolve('torchvision://resnet18').published.file
    torch.save(peer.state_dict(), cache / name)
    backbone = mmcnn.build_backbone('resnet18', init_cfg=pretrained('mmcnn://resnet18/torchvision-v1')).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = peer.eval()
        expected = expected.layer1(expected.maxpool(expected.relu(expected.bn1(expected.conv1(x)))))
        assert torch.allclose(backbone(x)[0], expected, atol=1e-5)
    # Another depth has other layers.
    with pytest.raises(CheckpointError, match=r'does not fit resnet50: .* missing.*; it holds weights of resnet18'):
        mmcnn.build_backbone('resnet50', init_cfg=pretrained('torchvision://resnet18'))
    with pytest.raises(CheckpointError, match=r'torchvision has no weights for darknet53 \(Darknet\)'):
        mmcnn.build_backbone('darknet53', init_cfg=pretrained('torchvision://resnet18'))


def test_the_trunk_of_a_pyramid_takes_its_weights_too(cache, request):
    peer = request.getfixturevalue('torchvision').models.resnet50(weights=None)
    torch.save(peer.state_dict(), cache / resolve('torchvision://resnet50').published.file)
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
