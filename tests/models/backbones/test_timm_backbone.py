import sys

import pytest
import torch

import mmcnn
from mmcnn.errors import DependencyError
from mmcnn.models.wiring import probe, wire
from mmcnn.registry import MODELS


@pytest.fixture(autouse=True)
def _timm(request):
    request.getfixturevalue('timm')


def test_levels_are_named_by_stride():
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='mmcnn.TimmBackbone', model='resnet18', out_indices=(1, 3, 5)))
        maps = backbone(torch.empty(1, 3, 64, 96))
    assert backbone.out_channels == (64, 128, 512) and backbone.out_strides == (2, 8, 32)
    assert [tuple(x.shape) for x in maps] == [(1, 64, 32, 48), (1, 128, 8, 12), (1, 512, 2, 3)]


def test_inside_yolov4():
    from mmcnn.config.load import load_config

    cfg = load_config('yolov4_cspdarknet53')
    cfg.model.backbone = dict(type='mmcnn.TimmBackbone', model='regnety_004', out_indices=(3, 4, 5))
    assert probe(cfg.model.backbone).strides == (8, 16, 32)
    assert wire(cfg.model).neck.in_channels == list(probe(cfg.model.backbone).channels) == [104, 208, 440]


def test_inside_mmdetections_retinanet():
    cfg = mmcnn.swap_backbone('mmdet::retinanet/retinanet_r50_fpn_1x_coco', 'timm.regnety_004', say=lambda line: None)
    assert cfg.model.neck.in_channels == [48, 104, 208, 440]


def test_a_timm_that_cannot_be_imported_is_one_sentence(monkeypatch, tmp_path):
    """Its torchvision is built for another PyTorch."""
    (tmp_path / 'timm.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.delitem(sys.modules, 'timm')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DependencyError, match=r"timm's, which cannot be imported here: operator torchvision::nms does"):
        MODELS.build(dict(type='mmcnn.TimmBackbone', model='resnet18'))


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(model='resnet81'), "timm has no network 'resnet81'; did you mean"),
        (
            dict(model='resnet18', out_indices=(3, 7)),
            r"timm's 'resnet18' has no level 7; its levels are \[1, 2, 3, 4, 5\]",
        ),
    ],
)
def test_errors_say_what_would_be_right(settings, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(type='mmcnn.TimmBackbone', **settings))
