"""Validations of a training run folded networks, and nothing else sees them."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.registry import DefaultScope
from mmengine.runner import ValLoop
from torch import nn

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.models.wiring import wire
from mmcnn.registry import MODELS
from mmcnn.runs.folding_hook import FoldingHook, folded_networks

CONFIG = 'yolov4_cspdarknet53'
TINY = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33, 'model.test_cfg.score_thr': 0.0}
SMALL = dict(epochs=1, img_size=64, batch_size=4, workers=0, device='cpu', cfg_options=TINY)


@pytest.fixture
def norms(monkeypatch):
    """Number of calls of BatchNorm in evaluation mode."""
    calls, forward = [], nn.BatchNorm2d.forward

    def counted(self, x):
        if not self.training:
            calls.append(self)
        return forward(self, x)

    monkeypatch.setattr(nn.BatchNorm2d, 'forward', counted)
    return calls


class Detector(nn.Module):
    """A detector as far as a validation sees it, with a head of another package."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.bbox_head = backbone, nn.Sequential(nn.Conv2d(64, 8, 1), nn.BatchNorm2d(8))
        with torch.no_grad():
            for norm in (module for module in self.modules() if isinstance(module, nn.BatchNorm2d)):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)

    def val_step(self, data):
        if data is None:
            raise RuntimeError('the images cannot be read')
        return self.bbox_head(self.backbone(data)[-1])


@pytest.fixture
def detector():
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = wire(load_config(CONFIG).model)
        backbone = MODELS.build(dict(model.backbone, widen_factor=0.0625, deepen_factor=0.33))
    return Detector(backbone).eval()


@torch.no_grad()
def test_the_networks_are_folded_while_a_batch_is_predicted(detector, norms):
    hook, runner, image = FoldingHook(), SimpleNamespace(model=detector, cfg=Config()), torch.rand(2, 3, 64, 64)
    own, expected = detector.backbone, detector.val_step(image)
    of_backbone = len(norms) - 1
    assert of_backbone > 20
    names = list(detector.state_dict())

    hook.before_train(runner)
    hook.before_val_epoch(runner)
    norms.clear()
    torch.testing.assert_close(detector.val_step(image), expected, rtol=1e-4, atol=1e-4)
    assert norms == [detector.bbox_head[1]]
    assert detector.backbone is own and list(detector.state_dict()) == names

    with pytest.raises(RuntimeError, match='the images cannot be read'):
        detector.val_step(None)
    assert detector.backbone is own

    hook.after_val_epoch(runner)
    norms.clear()
    assert torch.equal(detector.val_step(image), expected)
    assert len(norms) == of_backbone + 1


@torch.no_grad()
def test_each_validation_has_the_present_weights(detector):
    hook, runner, image = FoldingHook(), SimpleNamespace(model=detector, cfg=Config()), torch.rand(1, 3, 64, 64)
    hook.before_train(runner)
    hook.before_val_epoch(runner)
    before = detector.val_step(image)
    hook.after_val_epoch(runner)
    for parameter in detector.backbone.parameters():
        parameter.mul_(1.1)
    hook.before_val_epoch(runner)
    after = detector.val_step(image)
    hook.after_val_epoch(runner)
    assert not torch.allclose(after, before, atol=1e-2)
    torch.testing.assert_close(after, detector.val_step(image), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('compiled', [True, dict(mode='reduce-overhead')])
def test_compiled_networks_stay(detector, norms, compiled):
    runner = SimpleNamespace(model=detector, cfg=Config(dict(performance=dict(compile=compiled))))
    hook = FoldingHook()
    hook.before_train(runner)
    hook.before_val_epoch(runner)
    detector.val_step(torch.rand(1, 3, 64, 64))
    assert len(norms) > 20


@pytest.mark.parametrize(
    ('wrapper', 'folds'), [(MMDistributedDataParallel, True), (MMSeparateDistributedDataParallel, False)]
)
def test_the_model_of_a_rank(detector, wrapper, folds):
    """Only a wrapper that holds the whole model, and no others in it, lets it be copied."""
    wrapped = wrapper.__new__(wrapper)  # without a process group
    nn.Module.__init__(wrapped)
    wrapped.module = detector
    FoldingHook().before_train(SimpleNamespace(model=wrapped, cfg=Config()))
    assert ('val_step' in vars(detector)) == folds


def test_parts_of_other_packages_and_without_weights_stay():
    with DefaultScope.overwrite_default_scope('mmdet'):
        own = MODELS.build(wire(load_config(CONFIG).model))
        two_stages = MODELS.build(wire(load_config('faster_rcnn_resnet50_fpn').model))
    assert list(folded_networks(own)) == ['backbone', 'neck', 'bbox_head']
    assert list(folded_networks(two_stages)) == ['backbone', 'neck', 'rpn_head']


@pytest.mark.parametrize('amp', ['off', 'bf16'])
def test_a_training_validates_as_test_does(shapes, tmp_path, norms, monkeypatch, amp):
    run, called = ValLoop.run, []

    def counted(self):
        norms.clear()
        metrics = run(self)
        called.append(len(norms))
        return metrics

    monkeypatch.setattr(ValLoop, 'run', counted)
    result = mmcnn.train(CONFIG, data=shapes, work_dir=tmp_path / 'run', amp=amp, amp_val=amp != 'off', **SMALL)
    assert called == [0]
    for path in (result.best, result.last):
        assert any(name.endswith('bn.running_mean') for name in torch.load(path, weights_only=True)['state_dict'])
    tested = mmcnn.evaluate(result.last, data=shapes, work_dir=tmp_path / 'test', device='cpu', workers=0, amp=amp)
    assert tested.metrics == result.metrics
    precision = json.loads((tested.work_dir / 'metrics.json').read_text()).get('precision')
    assert precision == (None if amp == 'off' else amp)
