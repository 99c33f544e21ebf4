"""A user's config that inherits from a config without our backbones and sets one of them."""

import pytest

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import UsageError
from mmcnn.models.wiring import wire
from tests.wired_models import retinanet


@pytest.fixture
def inherit(tmp_path):
    """Load a config with this content besides its base, and return it with the notes: ``inherit(content)``."""
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
    assert any('neck.in_channels changed from [128, 256, 512] to [32, 96, 320]' in line for line in said)
    wire_model(cfg)


def test_a_config_in_yaml_inherits_as_well(inherit, tmp_path):
    (tmp_path / 'own.yaml').write_text('_base_: base.py\nmodel:\n  backbone:\n    type: mmcnn.mobilenetv2\n')
    cfg = load_config(tmp_path / 'own.yaml')
    assert cfg.model.neck.in_channels == [32, 96, 320]


def test_what_the_config_says_itself_is_checked_and_not_overwritten(inherit):
    right = 'neck=dict(in_channels=[32, 96, 320]), data_preprocessor=dict(mean=[7.0] * 3)'
    cfg, _ = inherit(f"model = dict(backbone=dict(type='mmcnn.mobilenetv2'), {right})")
    assert cfg.model.data_preprocessor.mean == [7.0] * 3
    wire_model(cfg)
    wrong = 'neck=dict(in_channels=[1, 2, 3])'
    cfg, _ = inherit(f"model = dict(backbone=dict(type='mmcnn.mobilenetv2'), {wrong})")
    assert cfg.model.neck.in_channels == [1, 2, 3]
    with pytest.raises(UsageError, match=r'neck\.in_channels=\[1, 2, 3\] does not match mmcnn\.mobilenetv2'):
        wire_model(cfg)


@pytest.mark.parametrize(
    'content',
    [
        '',
        'model = dict(backbone=dict(frozen_stages=0))',
        "model = dict(backbone=dict(_delete_=True, type='NobodysNet'))",  # building it raises the error
    ],
)
def test_other_configs_are_left_alone(inherit, content):
    cfg, said = inherit(content)
    assert said == [] and cfg.model.neck.in_channels == [128, 256, 512]


def test_a_backbone_of_mmdetections_is_enough(inherit):
    cfg, said = inherit("model = dict(backbone=dict(_delete_=True, type='MobileNetV2'))")
    assert cfg.model.backbone == dict(type='MobileNetV2', out_indices=(2, 4, 7))
    assert cfg.model.neck.in_channels == [32, 96, 1280] and cfg.model.data_preprocessor.mean == [1.0] * 3
    assert said == [
        'backbone: MobileNetV2 in place of ResNet, which the config inherits',
        'note: backbone.out_indices is (2, 4, 7), to give MobileNetV2 the strides of the old backbone',
        'note: neck.in_channels changed from [128, 256, 512] to [32, 96, 1280], from MobileNetV2',
    ]
    wire_model(cfg)


def test_one_whose_numbers_the_config_says_itself_is_left_alone(inherit):
    """Configs of MMDetection do so; only some of them set out_indices."""
    channels, strides = [256, 512, 1024, 2048], [4, 8, 16, 32, 64]
    own = f'neck=dict(in_channels={channels}), bbox_head=dict(anchor_generator=dict(strides={strides}))'
    cfg, said = inherit(f"model = dict(backbone=dict(_delete_=True, type='ResNeXt', depth=50, groups=1), {own})")
    assert said == [] and cfg.model.backbone == dict(type='ResNeXt', depth=50, groups=1)
    assert cfg.model.neck.in_channels == channels and cfg.model.bbox_head.anchor_generator.strides == strides


def test_arguments_that_are_inherited_are_its_own(inherit):
    cfg, _ = inherit("model = dict(backbone=dict(type='ResNeXt', depth=50))")
    assert cfg.model.backbone == dict(type='ResNeXt', depth=50, out_indices=(1, 2, 3), frozen_stages=1)
    assert cfg.model.neck.in_channels == [512, 1024, 2048]


def test_levels_that_it_names_are_those_of_our_backbones(inherit):
    cfg, _ = inherit("model = dict(backbone=dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5), widen_factor=0.5))")
    assert cfg.model.backbone == dict(type='mmcnn.mobilenetv2', out_indices=(3, 4, 5), widen_factor=0.5)
    assert cfg.model.neck.in_channels == [16, 48, 160]
