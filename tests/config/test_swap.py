"""``mmcnn.swap_backbone`` returns a complete copy of a model with another backbone."""

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

import mmcnn
from mmcnn.config.load import load_config, set_backbone
from mmcnn.config.model import build_on_meta
from mmcnn.errors import MissingLevelError, UsageError
from mmcnn.models.wiring import wire
from tests.wired_models import retinanet


@pytest.fixture
def model():
    """A plain RetinaNet for ResNet-18."""
    return wire(retinanet(backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3))))


def test_a_config_for_a_config_and_a_model_for_a_model(model, tmp_path, capsys):
    cfg = Config(dict(model=model, work_dir='here'))
    before = cfg.pretty_text
    swapped = mmcnn.swap_backbone(cfg, 'mobilenetv2')
    assert type(swapped) is Config and cfg.pretty_text == before and swapped.work_dir == 'here'
    assert 'backbone: mobilenetv2 in place of ResNet' in capsys.readouterr().out
    said = []
    alone = mmcnn.swap_backbone(model, 'mmcnn.mobilenetv2', said.append)
    assert type(alone) is ConfigDict and alone == swapped.model and said
    path = tmp_path / 'own.py'
    cfg.dump(path)
    assert mmcnn.swap_backbone(path, 'mobilenetv2', said.append).model == alone
    assert capsys.readouterr().out == ''


def test_the_result_is_a_plain_detector(model):
    swapped = mmcnn.swap_backbone('yolov4_cspdarknet53', 'darknet53', lambda line: None)
    assert swapped.model.type != 'mmcnn.wired' and swapped.model.neck.in_channels == [256, 512, 1024]
    built = build_on_meta(Config(dict(model=mmcnn.swap_backbone(model, 'vgg11', lambda line: None))))
    assert type(built).__name__ == 'RetinaNet' and built.neck.in_channels == [512, 512, 512]


def test_what_cannot_be_is_refused(model):
    with pytest.raises(UsageError, match=r"unknown backbone 'mobilnetv2'; did you mean mobilenetv2"):
        mmcnn.swap_backbone(model, 'mobilnetv2')
    with pytest.raises(MissingLevelError, match='no level 5'):
        mmcnn.swap_backbone(model, 'fpn')
    with pytest.raises(UsageError, match="has no 'model'"):
        mmcnn.swap_backbone(Config(dict(x=1)), 'vgg11')
    model.bbox_head.in_channels = 17  # does not match any backbone
    with pytest.raises(UsageError, match=r'bbox_head\.in_channels=17 does not match FPN'):
        mmcnn.swap_backbone(model, 'vgg11', lambda line: None)


def test_arguments_of_others_backbones_are_typed_beside_them(model):
    cfg = Config(dict(model=model))
    set_backbone(cfg, 'mmdet.ResNet', {'model.backbone.depth': 50}, lambda line: None)
    assert cfg.model.backbone == dict(type='ResNet', depth=50, out_indices=(1, 2, 3))
    assert cfg.model.neck.in_channels == [512, 1024, 2048]


def test_it_trains_a_step(model):
    torch.manual_seed(0)
    swapped = mmcnn.swap_backbone(model, 'mobilenetv2-035', lambda line: None)
    with DefaultScope.overwrite_default_scope('mmdet'):
        from mmdet.registry import MODELS

        detector = MODELS.build(swapped)
    maps = detector.extract_feat(torch.rand(2, 3, 64, 64))
    sum(x.sum() for outputs in detector.bbox_head(maps) for x in outputs).backward()
    assert all(each.grad is not None for each in detector.backbone.parameters())


def test_names_of_packages_are_typed_with_a_scope():
    cfg = load_config('yolov4_cspdarknet53')
    with pytest.raises(UsageError, match=r'for other libraries use mmdet\.TYPE or timm\.NETWORK'):
        set_backbone(cfg, 'ResNet', {}, lambda line: None)
