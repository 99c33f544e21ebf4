"""Which trainings check their first loss, and what their data provide."""

import pytest
from mmengine.config import Config

from mmcnn.models.wiring import Given
from mmcnn.runs import first_loss, prepare
from mmcnn.runs.first_loss import given_by, prove_swapped
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.process_state import kept_process_state


def cfg(backbone='mmcnn.vgg11', pipeline=(), **model):
    dataset = dict(type='RepeatDataset', dataset=dict(pipeline=[*pipeline]))
    return Config(dict(model=dict(backbone=dict(type=backbone), **model), train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize(
    ('pipeline', 'given'),
    [
        ([dict(type='LoadAnnotations', with_bbox=True)], Given()),
        ([dict(type='LoadAnnotations', with_bbox=True, with_mask=True)], Given(masks=True)),
        ([dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)], Given(masks=True)),
        ([dict(type='LoadAnnotations', with_seg=True), dict(type='SegRescale', scale_factor=1 / 8)], Given(False, 8)),
        ([dict(type='LoadPanopticAnnotations')], Given(True, 1)),
        ([dict(type='LoadPanopticAnnotations', with_seg=False)], Given(True)),
    ],
)
def test_what_the_transforms_load(pipeline, given):
    assert given_by(cfg(pipeline=pipeline)) == given


@pytest.mark.parametrize(
    ('config', 'in_full', 'swapped', 'is_proven'),
    [
        (cfg(), True, False, True),  # a user's config with one of our backbones
        (cfg('ResNet'), True, True, True),  # --backbone mmdet.ResNet
        (cfg('ResNet'), True, False, False),  # MMDetection's config
        (cfg(), False, True, False),  # one of our detectors
        (cfg(type='Classifier'), True, True, False),
    ],
)
def test_which_are_proven(config, in_full, swapped, is_proven, monkeypatch):
    monkeypatch.setattr(first_loss, 'prove_loss', lambda model, given: ['proven'])
    assert prove_swapped(config, in_full, swapped) == ['proven'] * is_proven


def test_the_inner_detector_is_proven(monkeypatch):
    config = cfg()
    config.model = dict(type='SoftTeacher', detector=config.model)
    monkeypatch.setattr(first_loss, 'prove_loss', lambda model, given: [model.backbone.type])
    assert prove_swapped(config, True, False) == ['mmcnn.vgg11']


def test_a_training_asks_before_it_starts(shapes, tmp_path, monkeypatch):
    asked = []

    def prove(cfg, in_full, swapped):
        asked.append((cfg.model.backbone.type, in_full, swapped))
        return ['x']

    monkeypatch.setattr(prepare, 'prove_swapped', prove)
    options = dict(config='yolov5_n', data=shapes, work_dir=tmp_path / 'run', device='cpu', img_size=64)
    with kept_process_state():
        assert 'note: x' in prepare.prepare(TrainOptions(**options, backbone='mobilenetv2')).notes
    assert asked == [('mmcnn.mobilenetv2', False, True)]
