"""Published weights for MMDetection's own backbones, by address, without torchvision and offline."""

import sys
import urllib.error

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmcnn.errors import CheckpointError
from mmcnn.weights import addresses, schemes
from mmcnn.weights.schemes import register_schemes

URL = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty download cache; torchvision cannot be imported, and there is no network."""

    def fails(url, *args, **kwargs):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fails)
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    (tmp_path / 'checkpoints').mkdir()
    register_schemes()
    register_schemes()
    return tmp_path / 'checkpoints'


def load(address):
    return CheckpointLoader.load_checkpoint(address, map_location='cpu', logger='silent')


@pytest.mark.parametrize('address', ['torchvision://resnet50', 'modelzoo://resnet50', URL])
def test_a_file_that_is_there_is_read_without_torchvision(address, cache):
    file = addresses.resolve('torchvision://resnet50').urls[0].rpartition('/')[2]
    torch.save({'fc.bias': torch.arange(3.0)}, cache / (file if '://resnet50' in address else URL.rpartition('/')[2]))
    assert load(address)['fc.bias'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('address', ['torchvision://resnet50', 'open-mmlab://detectron2/resnet50_caffe', URL])
def test_what_cannot_be_downloaded_is_said_with_a_way_out(address, cache):
    with pytest.raises(CheckpointError, match=r'cannot be downloaded: https.*no network.*init_cfg=None'):
        load(address)
    assert not list(cache.iterdir())


def test_a_name_that_nobody_has(cache):
    with pytest.raises(
        CheckpointError, match=r'torchvision://resnet5: unknown name; did you mean torchvision://resnet50'
    ):
        load('torchvision://resnet5')


def test_names_that_only_torchvision_knows_are_asked_of_it(cache, monkeypatch):
    asked = []
    monkeypatch.setitem(
        schemes.SCHEMES, 'torchvision://', ('torchvision://', lambda name, map_location: asked.append(name) or {'x': 1})
    )
    assert load('torchvision://resnet50.imagenet1k_v2') == {'x': 1}
    assert asked == ['torchvision://resnet50.imagenet1k_v2']
