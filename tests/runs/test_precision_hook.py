"""Steps skipped by a loss scale are not errors; validation in mixed precision."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn

from mmcnn.engine import BFloat16OptimWrapper
from mmcnn.runs.precision_hook import PrecisionHook


@pytest.fixture
def amp(monkeypatch):
    """MMEngine's AmpOptimWrapper on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda **kwargs: torch.amp.GradScaler('cpu', **kwargs))


class Norms(Hook):
    """Record the norm that a log would show in each iteration; gradients of some iterations overflow."""

    def __init__(self, overflows):
        self.overflows, self.seen = overflows, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        scaler = runner.optim_wrapper.loss_scaler
        scaler.load_state_dict(scaler.state_dict() | dict(scale=3e38 if runner.iter in self.overflows else 1.0))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        norms = runner.message_hub.log_scalars.get('train/grad_norm')
        self.seen.append(None if norms is None else norms.mean(50))


@pytest.mark.parametrize(
    ('overflows', 'shown'), [((), [True] * 5), ((2, 3), [True] * 5), ((0, 1), [False, False, True, True, True])]
)
def test_the_norm_of_a_skipped_step_is_not_shown(make_runner, tmp_path, amp, overflows, shown):
    norms, said = Norms(overflows), []
    runner = make_runner(tmp_path, epochs=1, hooks=[PrecisionHook(), norms], accumulate=1)
    runner.optim_wrapper.update(type='AmpOptimWrapper', clip_grad=dict(max_norm=10.0), loss_scale=dict(init_scale=1.0))
    runner.logger.info = said.append
    runner.train()
    assert [value is not None for value in norms.seen] == shown
    assert all(value is None or 0 < value < 100 for value in norms.seen)
    assert sum('has overflowed in fp16: the step is skipped' in str(line) for line in said) == bool(overflows)


def test_a_run_in_fp16_goes_on_from_one_in_bf16():
    checkpoint = dict(optimizer=dict(state={}, loss_scaler={}))
    PrecisionHook().after_load_checkpoint(None, checkpoint)
    assert checkpoint['optimizer'] == dict(state={})
    checkpoint = dict(optimizer=dict(loss_scaler=dict(scale=8.0)))
    PrecisionHook().after_load_checkpoint(None, checkpoint)
    assert checkpoint['optimizer'] == dict(loss_scaler=dict(scale=8.0))
    PrecisionHook().after_load_checkpoint(None, dict(state_dict={}))  # a checkpoint with weights only


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def val_step(self, data):
        return self.layer(data).dtype


@pytest.mark.parametrize(
    ('asked', 'dtype', 'expected'),
    [(True, 'bfloat16', torch.bfloat16), (True, None, torch.float16), (False, 'bfloat16', torch.float32)],
)
def test_validation_in_the_precision_of_the_training(amp, asked, dtype, expected):
    model = Model()
    wrapper = amp_optimizer_wrapper.AmpOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype=dtype, loss_scale=dict(enabled=False)
    )
    cfg = Config(dict(performance=dict(val_amp=asked)))
    PrecisionHook().before_train(SimpleNamespace(model=model, optim_wrapper=wrapper, cfg=cfg))
    with torch.autocast('cpu', enabled=False):  # as in the validation loop
        assert model.val_step(torch.rand(1, 2)) == expected
    assert 'val_step' not in model.state_dict()


class Head(nn.Module):
    """A head with maps of several levels, and the inputs of its losses."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        found = self.layer(x)
        return [found, (found, None)], dict(scores=found, labels=torch.ones(2, dtype=torch.long))

    def loss_by_feat(self, levels, named):
        return [type(each) for each in levels], levels[0].dtype, levels[1][0].dtype, named['scores'].dtype


class TwoStages(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 2), Head()


@pytest.mark.parametrize('kind', [BFloat16OptimWrapper, OptimWrapper])
def test_on_a_cpu_losses_are_given_float32(kind):
    model = TwoStages()
    wrapper = kind(torch.optim.SGD(model.parameters(), lr=0.1))
    PrecisionHook().before_train(SimpleNamespace(model=model, optim_wrapper=wrapper, cfg=Config()))
    with wrapper.optim_context(model):
        maps = model.backbone(torch.rand(2, 2))
        levels, named = model.head(maps)
    assert maps.dtype == (torch.bfloat16 if kind is BFloat16OptimWrapper else torch.float32)
    assert model.head.loss_by_feat(levels, named) == ([torch.Tensor, tuple], *[torch.float32] * 3)
    assert named['labels'].dtype == torch.long and levels[1][1] is None


def test_validation_in_bfloat16_on_a_cpu():
    model = Model()
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, cfg=Config(dict(performance=dict(val_amp=True))))
    PrecisionHook().before_train(runner)
    with torch.autocast('cpu', enabled=False):  # as in the validation loop
        assert model.val_step(torch.rand(1, 2)) == torch.bfloat16
