"""mmcnn benchmark backbone."""

import pytest
import torch
from torch import nn

from mmcnn.benchmarks import backbone, peers
from mmcnn.benchmarks.options import NETWORKS, BackboneOptions
from mmcnn.errors import UsageError
from mmcnn.models.classifiers import build_classifier, list_classifiers


def test_networks_are_classifiers():
    assert set(NETWORKS) <= set(list_classifiers())


def test_peers_and_ours_are_measured_in_turn(monkeypatch):
    def found(library, row, parameters, say):
        return build_classifier(row).eval() if library == 'timm' else None

    said = []
    monkeypatch.setattr(backbone, 'peer', found)
    monkeypatch.setattr(backbone, 'LEAST', 0)
    threads = torch.get_num_threads()
    options = BackboneOptions(names=('mobilenetv2-tv',), batch_size=2, img_size=32, runs=2)
    (comparison,) = backbone.measure(options, said.append)
    assert comparison.row == 'mobilenetv2-tv, batch 2' and torch.get_num_threads() == threads
    assert comparison.peers == {'timm', 'timm, channels last'}
    assert list(comparison.figures) == ['timm', 'timm, channels last', 'mmcnn.fuse', 'mmcnn.fuse, bfloat16']
    assert all(len(figures) == 2 for figures in comparison.figures.values())
    (sentence,) = said
    assert sentence.startswith('ours to the best peer: median ')


@pytest.mark.slow
def test_training_and_its_memory(monkeypatch):
    monkeypatch.setattr(backbone, 'peer', lambda library, row, *_: build_classifier(row) if library == 'timm' else None)
    options = dict(names=('mobilenetv2-tv',), img_size=32, runs=1)
    (found,) = backbone.measure(BackboneOptions(of='training', batch_size=2, **options), print)
    assert list(found.figures) == [
        'mmcnn NCHW',
        'mmcnn NCHW bf16',
        'mmcnn NHWC',
        'mmcnn NHWC bf16',
        'timm NCHW',
        'timm NHWC',
    ]
    assert found.peers == {'timm NCHW', 'timm NHWC'}
    (found,) = backbone.measure(BackboneOptions(of='memory', batch_size=64, **options), print)
    assert found.unit == 'MB' and found.ratio('mmcnn').median == 1  # the peer is our own backbone
    assert 0.05 < found.ratio('mmcnn with_cp=True').median < 0.6


@pytest.mark.parametrize('name', ['folded', 'compiled'])
def test_ways_to_compute_are_of_the_forward_pass(name):
    with pytest.raises(UsageError, match=f'{name} is for of=forward, not for of=training'):
        BackboneOptions(of='training', **{name: True})


def test_without_peers_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(backbone, 'peer', lambda *args: None)
    monkeypatch.setattr(backbone, 'LEAST', 0)
    said = []
    (comparison,) = backbone.measure(BackboneOptions(names=('mobilenetv2-tv',), batch_size=1, img_size=32), said.append)
    assert comparison.best_peer is None and said == []


class Models:
    """A stand-in for torchvision.models."""

    @staticmethod
    def list_models():
        return ['resnet_50', 'vgg16']

    @staticmethod
    def get_model(name, weights):
        model = nn.Sequential(nn.Linear(2, 3))
        model.name = name
        return model


def test_a_peer_has_the_name_and_as_many_parameters(monkeypatch):
    monkeypatch.setattr(peers, '_models', lambda library: Models)
    said = []
    found = peers.peer('torchvision', 'resnet50-tv', 9, said.append)
    assert found.name == 'resnet_50' and not found.training and said == []
    assert peers.peer('torchvision', 'vgg16', 10, said.append) is None
    assert peers.peer('torchvision', 'darknet53', 9, said.append) is None
    assert said == [
        "vgg16: torchvision's vgg16 is another network, with 9 parameters instead of 10",
        'darknet53: not in torchvision',
    ]


def test_a_library_that_is_not_there_is_said(monkeypatch):
    def missing(library):
        raise ImportError("No module named 'timm'")

    monkeypatch.setattr(peers, '_models', missing)
    said = []
    assert peers.peer('timm', 'vgg16', 1, said.append) is None
    assert said == ["timm: not measured, since it cannot be imported here (No module named 'timm')"]


@pytest.mark.slow
@pytest.mark.parametrize('row', NETWORKS)
def test_each_network_has_a_peer(timm, row):
    said = []
    with torch.device('meta'):
        parameters = sum(each.numel() for each in build_classifier(row).parameters())
        assert peers.peer('timm', row, parameters, said.append) is not None, said
