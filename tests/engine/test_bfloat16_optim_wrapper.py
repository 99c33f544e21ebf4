"""Training in bfloat16 on a CPU: the types of computations and checkpoints, and resuming a killed run."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn

from mmcnn.engine import BFloat16OptimWrapper


def in_bf16(runner):
    runner.optim_wrapper.update(type='mmcnn.BFloat16OptimWrapper')
    return runner


def state_of(runner):
    averages = next(hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model'))
    momenta = [state['momentum_buffer'] for state in runner.optim_wrapper.optimizer.state.values()]
    return [*runner.model.state_dict().values(), *averages.state_dict().values(), *momenta]


class Types(Hook):
    def before_train(self, runner):
        self.seen = set()
        runner.model.conv.register_forward_hook(lambda module, given, found: self.seen.add(found.dtype))


def test_the_forward_pass_is_in_bfloat16_and_all_that_stays_in_float32(make_runner, tmp_path):
    types = Types()
    runner = in_bf16(make_runner(tmp_path, epochs=1, hooks=[types]))
    runner.train()
    assert types.seen == {torch.bfloat16}
    assert {value.dtype for value in state_of(runner) if value.is_floating_point()} == {torch.float32}
    saved = torch.load(tmp_path / 'last.pth', weights_only=False)
    for part in ('state_dict', 'ema_state_dict'):
        assert torch.bfloat16 not in {value.dtype for value in saved[part].values()}
    assert 'loss_scaler' not in saved['optimizer']


class Stop(Hook):
    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.at:
            raise KeyboardInterrupt


def test_a_killed_run_ends_in_the_bits_of_one_that_was_not(make_runner, tmp_path):
    whole = in_bf16(make_runner(tmp_path / 'whole'))
    whole.train()
    killed = in_bf16(make_runner(tmp_path / 'killed', hooks=[Stop(at=8)]))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = in_bf16(make_runner(tmp_path / 'killed', resume=True))
    resumed.train()
    for expected, found in zip(state_of(whole), state_of(resumed), strict=True):
        assert torch.equal(expected, found)
    plain = make_runner(tmp_path / 'plain')
    plain.train()
    assert not torch.equal(plain.model.conv.weight, whole.model.conv.weight)


@pytest.mark.parametrize('classes', [(OptimWrapper, BFloat16OptimWrapper), (BFloat16OptimWrapper, OptimWrapper)])
def test_its_state_goes_on_in_float32_and_the_other_way_round(classes):
    model = nn.Linear(2, 2)
    first, second = (kind(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)) for kind in classes)
    first.update_params(model(torch.ones(1, 2)).sum())
    second.load_state_dict(first.state_dict())
    for one, other in zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        assert torch.equal(one['momentum_buffer'], other['momentum_buffer'])


@pytest.mark.parametrize('form', [torch.contiguous_format, torch.channels_last])
def test_statistics_of_batch_norm_are_summed_in_float32(form):
    """The mean is of 4,096 numbers near 100; a sum in bfloat16 would stop growing after 256 of them."""
    norm = nn.BatchNorm2d(8, momentum=1.0)
    x = (100 + torch.randn(4, 8, 32, 32, generator=torch.Generator().manual_seed(0))).to(memory_format=form).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        norm(x)
    exact = x.double()
    assert norm.running_mean.dtype == norm.running_var.dtype == torch.float32
    assert torch.allclose(norm.running_mean.double(), exact.mean((0, 2, 3)), rtol=1e-6)
    assert torch.allclose(norm.running_var.double(), exact.var((0, 2, 3)), rtol=1e-3)
