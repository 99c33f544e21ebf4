"""Seeds, and the requirements of deterministic training on a GPU."""

import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmcnn.config.load import load_config
from mmcnn.config.model import wire_model
from mmcnn.errors import TrainingError, UsageError
from mmcnn.models import families
from mmcnn.models.layers import ExportableAdaptiveAvgPool2d
from mmcnn.registry import MODELS
from mmcnn.runs import determinism
from mmcnn.runs.causes import known_causes
from mmcnn.runs.determinism import (
    CUBLAS,
    continue_determinism,
    make_deterministic,
    set_randomness,
    without_kernel,
)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(determinism, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(determinism, '_set_in_time', False)
    monkeypatch.setattr(determinism, 'without_kernel', lambda cfg: {})
    monkeypatch.setenv(CUBLAS, '')  # so that monkeypatch restores it
    monkeypatch.delenv(CUBLAS)


def asking(deterministic=True):
    return Config(dict(randomness=dict(seed=0, deterministic=deterministic), model=dict(type='FasterRCNN')))


def wired(name, **model):
    cfg = load_config(name)
    cfg.model.update(model)
    wire_model(cfg)
    return cfg


@pytest.mark.parametrize(
    ('own', 'typed', 'expected'),
    [
        (None, None, dict(seed=0)),
        (None, 3, dict(seed=3)),
        (dict(seed=7, deterministic=True), None, dict(seed=7, deterministic=True)),
        (dict(seed=7, diff_rank_seed=True), 0, dict(seed=0, diff_rank_seed=True)),
        (dict(deterministic=True), 2, dict(seed=2, deterministic=True)),
        (dict(seed=None), None, dict(seed=0)),
    ],
)
def test_what_a_config_says_of_randomness_is_kept(own, typed, expected):
    cfg = Config({} if own is None else dict(randomness=own))
    set_randomness(cfg, typed)
    assert cfg.randomness == expected


@pytest.mark.parametrize(
    ('own', 'message'),
    [
        (dict(determinstic=True), "randomness has no entry 'determinstic'; did you mean deterministic"),
        (dict(deterministic=1), 'randomness.deterministic=1: it must be True or False'),
        (dict(seed='x'), "randomness.seed='x': it must be an integer from 0 to 4294967295"),
        (7, 'randomness=7: it must be a dict'),
    ],
)
def test_what_mmengine_does_not_take_is_refused(own, message):
    with pytest.raises(UsageError) as error:
        set_randomness(Config(dict(randomness=own)), None)
    assert message in str(error.value)


def test_cublas_is_told_before_cuda_starts(gpu):
    make_deterministic(asking(), cuda_had_started=False, say=pytest.fail)
    assert os.environ[CUBLAS] == ':4096:8'
    # A later run of the process, after the environment was restored.
    del os.environ[CUBLAS]
    make_deterministic(asking(), cuda_had_started=True, say=pytest.fail)
    assert os.environ[CUBLAS] == ':4096:8'


def test_cublas_was_not_told_by_a_run_that_did_not_start_cuda(gpu):
    make_deterministic(asking(), cuda_had_started=False, say=pytest.fail)  # it is refused later for another reason
    del os.environ[CUBLAS]
    make_deterministic(asking(False), cuda_had_started=False, say=pytest.fail)  # starts CUDA
    with pytest.raises(UsageError, match='CUDA has started in this process without'):
        make_deterministic(asking(), cuda_had_started=True)


def test_it_is_refused_once_cuda_has_started(gpu):
    with pytest.raises(UsageError, match=f'CUDA has started in this process without {CUBLAS}, .*start a new process'):
        make_deterministic(asking(), cuda_had_started=True)
    assert CUBLAS not in os.environ


def test_a_value_of_the_user_is_kept_or_refused(gpu, monkeypatch):
    monkeypatch.setenv(CUBLAS, ':16:8')
    make_deterministic(asking(), cuda_had_started=True)
    assert os.environ[CUBLAS] == ':16:8'
    monkeypatch.setenv(CUBLAS, ':0:0')
    with pytest.raises(UsageError, match=f'^{CUBLAS}=:0:0 in the environment: .* needs :4096:8 or :16:8$'):
        make_deterministic(asking(), cuda_had_started=False)


def test_nothing_is_asked_for_on_a_cpu_or_without_it(monkeypatch, gpu):
    make_deterministic(asking(False), cuda_had_started=True)
    monkeypatch.setattr(determinism, 'get_device', lambda: 'cpu')
    make_deterministic(asking(), cuda_had_started=True)
    assert CUBLAS not in os.environ


@MODELS.register_module()
class _PooledBackbone(nn.Module):
    """A user's backbone with a part whose gradient may not be deterministic."""

    def __init__(self, part, requires_grad=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1).requires_grad_(requires_grad)
        self.part = part

    def forward(self, x):
        return [self.part(self.conv(x))]


@pytest.mark.parametrize(
    ('part', 'operator'),
    [
        (nn.AdaptiveAvgPool2d(7), 'adaptive_avg_pool2d'),
        (nn.AdaptiveMaxPool2d(7), 'adaptive_max_pool2d'),
        (nn.ReflectionPad2d(1), 'pad(mode="reflect")'),
        (nn.Upsample(scale_factor=2, mode='bicubic'), 'interpolate(mode="bicubic")'),
        (nn.Upsample(scale_factor=2, mode='bilinear'), None),  # PyTorch has a deterministic implementation
        (nn.AdaptiveAvgPool2d(1), None),  # computed as a mean
        (nn.MaxPool2d(2), None),
        (ExportableAdaptiveAvgPool2d(7), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else '',
)
def test_an_operator_without_a_deterministic_gradient_is_found_by_its_module(monkeypatch, part, operator):
    model = nn.Module()
    model.backbone = _PooledBackbone(part)
    model.extract_feat = model.backbone
    monkeypatch.setattr(determinism, 'build_on_meta', lambda cfg: model.to('meta'))
    cfg = Config(dict(model=dict(type='FasterRCNN')))
    before = torch.are_deterministic_algorithms_enabled()
    assert without_kernel(cfg) == ({} if operator is None else {'backbone.part': operator})
    assert torch.are_deterministic_algorithms_enabled() == before


class _Head(nn.Module):
    def __init__(self, part, needs_more=False):
        super().__init__()
        self.conv, self.part, self.needs_more = nn.Conv2d(8, 8, 1), part, needs_more

    def forward(self, maps):
        if self.needs_more:
            raise TypeError('missing batch_data_samples')
        return self.part(self.conv(maps[0] if isinstance(maps, list) else maps))


def detector(monkeypatch, **parts):
    model = nn.Module()
    model.backbone = model.extract_feat = _PooledBackbone(parts.pop('backbone', nn.Identity()))
    for name, part in parts.items():
        setattr(model, name, part)
    monkeypatch.setattr(determinism, 'build_on_meta', lambda cfg: model.to('meta'))
    return Config(dict(model=dict(type='FasterRCNN')))


@pytest.mark.parametrize('name', ['bbox_head', 'rpn_head', 'mask_head'])
def test_heads_are_looked_through(monkeypatch, name):
    assert without_kernel(detector(monkeypatch, **{name: _Head(nn.AdaptiveMaxPool2d(7))})) == {
        f'{name}.part': 'adaptive_max_pool2d'
    }


def test_heads_behind_rois_are_looked_through(monkeypatch):
    roi = nn.Module()
    roi.bbox_roi_extractor = nn.Module()
    roi.bbox_roi_extractor.roi_layers, roi.bbox_roi_extractor.out_channels = [SimpleNamespace(output_size=(7, 7))], 8
    roi.bbox_head, roi.with_shared_head = _Head(nn.ReflectionPad2d(1)), False
    assert without_kernel(detector(monkeypatch, roi_head=roi)) == {'roi_head.bbox_head.part': 'pad(mode="reflect")'}


def test_a_head_that_wants_more_hides_nothing_that_was_found(monkeypatch):
    head = _Head(nn.Identity(), needs_more=True)
    assert without_kernel(detector(monkeypatch, bbox_head=head)) is None
    found = without_kernel(detector(monkeypatch, bbox_head=head, backbone=nn.AdaptiveMaxPool2d(7)))
    assert found == {'backbone.part': 'adaptive_max_pool2d'}


def test_a_part_that_is_not_trained_may_stay(monkeypatch):
    model = nn.Module()
    model.extract_feat = _PooledBackbone(nn.AdaptiveAvgPool2d(7), requires_grad=False)
    monkeypatch.setattr(determinism, 'build_on_meta', lambda cfg: model.to('meta'))
    assert without_kernel(Config(dict(model=dict(type='FasterRCNN')))) == {}


def test_the_part_is_named_before_the_training(gpu, monkeypatch):
    monkeypatch.setattr(determinism, 'without_kernel', lambda cfg: {'backbone.se.pool': 'adaptive_avg_pool2d'})
    with pytest.raises(UsageError, match=r'no deterministic kernel on a GPU: backbone\.se\.pool: adaptive_avg'):
        make_deterministic(asking(), cuda_had_started=False)


def test_what_cannot_be_looked_into_is_said(gpu, monkeypatch):
    monkeypatch.setattr(determinism, 'without_kernel', without_kernel)
    monkeypatch.setattr(determinism, 'build_on_meta', lambda cfg: 1 / 0)
    notes = []
    make_deterministic(asking(), cuda_had_started=False, say=notes.append)
    assert notes == ['note: the first step will show whether all operators of the model are deterministic']


@pytest.mark.parametrize(
    'name',
    [
        'yolov5_n',
        'yolov4_cspdarknet53_narrow',
        'yolov3_darknet53',
        'faster_rcnn_resnet50_fpn',
        'classification/vgg16-bn',
    ],
)
def test_the_recipes_have_no_such_operator(name):
    assert without_kernel(wired(name)) == {}


@pytest.mark.slow
def test_every_family_has_no_such_operator():
    """Each is a classifier with its paper's top, one variant per family: VGG's pooling to 7 px is the critical one."""
    found, seen = {}, set()
    for name, family in families.backbone_families().items():
        if family in seen or getattr(family.variants.get(name), 'top', None) is None:
            continue
        seen.add(family)
        cfg = wired('classification/vgg16-bn', backbone=dict(type=f'mmcnn.{name}'))
        found[name] = without_kernel(cfg)
    assert len(found) > 10 and set(map(str, found.values())) == {'{}'}


def test_an_operator_that_pytorch_refuses_later_is_named_in_a_sentence():
    message = 'roi_align_backward_kernel does not have a deterministic implementation, but you set ...'
    said = 'deterministic=True: roi_align_backward_kernel has no deterministic'
    with pytest.raises(TrainingError, match=said), known_causes():
        raise RuntimeError(message)


@pytest.mark.parametrize(
    ('before', 'now', 'typed', 'after', 'words'),
    [
        (True, False, False, True, 'began with randomness.deterministic=True, which is kept'),
        (True, False, True, False, 'began with randomness.deterministic=True and continues without it'),
        (False, True, True, True, 'began without randomness.deterministic=True and continues with it'),
        (True, True, True, True, None),
    ],
)
def test_a_resumed_run_stays_as_it_was(before, now, typed, after, words):
    cfg, notes = Config(dict(randomness=dict(seed=0, deterministic=now))), []
    continue_determinism(cfg, dict(randomness=dict(deterministic=before)), typed, notes.append)
    assert cfg.randomness.deterministic == after
    assert [words in note for note in notes] == ([True] if words else [])
