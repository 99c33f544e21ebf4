"""A config of the user's that inherits from a plain one and puts a backbone of ours in."""

import pytest

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import UsageError
from mmcnn.models.wiring import wire
from tests.wired_models import retinanet


@pytest.fixture
def inherit(tmp_path):
    """Loads a config that says something beside its base, with what was said of it: ``inherit(content)``."""
    backbone = dict(type='ResNet', depth=18, out_indices=(1, 2, 3), frozen_stages=1)
    images = dict(type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, bgr_to_rgb=True)
    model = wire(retinanet(backbone=backbone, data_preprocessor=images)).to_dict()
    (tmp_path / 'base.py').write_text(f'model = {model!r}\n')

    def load(content):
        (tmp_path / 'own.py').write_text(f"_base_ = 'base.py'\n{content}\n")
        said = []
        return load_config(str(tmp_path / 'own.py'), say=said.append), said

    return load


@pytest.mark.parametrize(
    'backbone',
    ["type='mmcnn.mobilenetv2'", "_delete_=True, type='mmcnn.mobilenetv2'"],
    ids=['merged', 'deleted'],
)
def test_the_backbone_alone_is_enough(inherit, backbone):
    cfg, said = inherit(f'model = dict(backbone=dict({backbone}))')
    assert cfg.model.backbone == dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5))
    assert cfg.model.neck.in_channels == [32, 96, 320] and cfg.model.data_preprocessor.std != [2.0] * 3
    assert said[0] == 'backbone: mobilenetv2 in place of ResNet, which the config inherits'
    assert any('neck.in_channels was [128, 256, 512] and is [32, 96, 320]' in line for line in said)
    wire_model(cfg)


def test_what_the_config_says_itself_is_checked_and_not_overwritten(inherit):
    right = 'neck=dict(in_channels=[32, 96, 320]), data_preprocessor=dict(mean=[7.0] * 3)'
    cfg, _ = inherit(f"model = dict(backbone=dict(type='mmcnn.mobilenetv2'), {right})")
    assert cfg.model.data_preprocessor.mean == [7.0] * 3
    wire_model(cfg)
    wrong = 'neck=dict(in_channels=[1, 2, 3])'
    cfg, _ = inherit(f"model = dict(backbone=dict(type='mmcnn.mobilenetv2'), {wrong})")
    assert cfg.model.neck.in_channels == [1, 2, 3]
    with pytest.raises(UsageError, match=r'neck\.in_channels=\[1, 2, 3\] does not fit mmcnn\.mobilenetv2'):
        wire_model(cfg)


@pytest.mark.parametrize(
    'content',
    [
        '',
        'model = dict(backbone=dict(frozen_stages=0))',
        "model = dict(backbone=dict(_delete_=True, type='MobileNetV2'))",
    ],
)
def test_other_configs_are_left_alone(inherit, content):
    cfg, said = inherit(content)
    assert said == [] and cfg.model.neck.in_channels == [128, 256, 512]


def test_levels_that_it_names_are_those_of_our_backbones(inherit):
    cfg, _ = inherit("model = dict(backbone=dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5), widen_factor=0.5))")
    assert cfg.model.backbone == dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5), widen_factor=0.5)
    assert cfg.model.neck.in_channels == [16, 48, 160]
