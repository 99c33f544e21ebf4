"""The moving average against YOLOv5's formula, with accumulation and across a resume."""

import math

import pytest
import torch
from mmdet.models.layers import ExpMomentumEMA
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmcnn.recipes.step_ema_hook import StepEMA, StepEMAHook
from tests.operators import Operators

# d_k of YOLOv5 (momentum 1e-4, gamma 2000).
DECAYS = {
    10: 0.00498702,
    100: 0.04876570,
    1000: 0.39342999,
    2000: 0.63205735,
    5000: 0.91782321,
    10000: 0.99316273,
}


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, inputs, mode='tensor'):
        return {'loss': (self.norm(self.conv(inputs)) - inputs).square().mean()}


class Recorder(StepEMAHook):
    """Keeps the raw values in float64 after every optimizer step."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.raw = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        before = int(self.ema_model.steps)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if int(self.ema_model.steps) > before:
            self.raw.append({key: value.double().clone() for key, value in self.src_model.state_dict().items()})


def make_runner(work_dir, hook, epochs, iters, accumulate, **kwargs):
    data = torch.randn(iters, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return Runner(
        model=Net(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader([{'inputs': image} for image in data]),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'accumulative_counts': accumulate, 'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        custom_hooks=[hook],
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1}},
        experiment_name=f'{work_dir} {epochs}',
        log_level='ERROR',
        **kwargs,
    )


@pytest.mark.parametrize(('k', 'decay'), DECAYS.items())
def test_decay_of_step_k(tmp_path, k, decay):
    """With an average of 1 and a weight of 0, one update leaves d_k."""
    hook = StepEMAHook()
    hook.before_run(make_runner(tmp_path, hook, 1, 1, 1))
    average = hook.ema_model
    average.steps.fill_(k - 1)
    average.module.conv.weight.fill_(1.0)
    average.module.norm.running_mean.fill_(1.0)
    source = Net()
    nn.init.zeros_(source.conv.weight)
    source.norm.running_mean.zero_()
    average.update_parameters(source)
    for value in (average.module.conv.weight, average.module.norm.running_mean):
        torch.testing.assert_close(value, torch.full_like(value, decay), rtol=0, atol=1e-6)


@pytest.mark.parametrize(('iters', 'accumulate', 'steps'), [(6, 1, 6), (6, 2, 3), (5, 2, 3), (7, 3, 3)])
def test_average_counts_optimizer_steps(tmp_path, iters, accumulate, steps):
    """The average over a run is the formula applied to the weights after each step; with gamma 3 it moves visibly."""
    hook = Recorder(momentum=0.01, gamma=3)
    make_runner(tmp_path, hook, 1, iters, accumulate).train()
    assert int(hook.ema_model.steps) == steps == len(hook.raw)

    expected = hook.raw[0]  # the first update copies
    for k, raw in enumerate(hook.raw[1:], start=2):
        decay = 0.99 * (1 - math.exp(-k / 3))
        expected = {key: decay * expected[key] + (1 - decay) * raw[key] for key in raw}
    averaged = hook.ema_model.module.state_dict()
    for key in ('conv.weight', 'norm.weight', 'norm.running_mean', 'norm.running_var'):
        torch.testing.assert_close(averaged[key].double(), expected[key], rtol=1e-6, atol=1e-6)
        assert not torch.allclose(averaged[key].double(), hook.raw[-1][key], atol=1e-4)


def test_resume_continues_the_average(tmp_path):
    """Two epochs in one run equal one epoch, and another one with a new runner that resumes."""
    hook = {'type': 'mmcnn.StepEMAHook', 'momentum': 0.01, 'gamma': 3}
    make_runner(tmp_path / 'straight', hook, 2, 4, 2).train()
    make_runner(tmp_path / 'resumed', hook, 1, 4, 2).train()
    make_runner(tmp_path / 'resumed', hook, 2, 4, 2, resume=True).train()

    straight, resumed = (
        torch.load(tmp_path / name / 'epoch_2.pth', map_location='cpu') for name in ('straight', 'resumed')
    )
    assert int(straight['ema_state_dict']['steps']) == int(resumed['ema_state_dict']['steps']) == 4
    for part in ('state_dict', 'ema_state_dict'):
        assert straight[part].keys() == resumed[part].keys()
        for key, value in straight[part].items():
            assert torch.equal(value, resumed[part][key]), (part, key)
    # The checkpoint's state_dict is the average; ema_state_dict has the raw weights.
    assert not torch.equal(straight['state_dict']['conv.weight'], straight['ema_state_dict']['module.conv.weight'])


def test_average_takes_part_in_validation(tmp_path):
    hook = StepEMAHook(momentum=0.01, gamma=3)
    runner = make_runner(tmp_path, hook, 1, 4, 1)
    runner.train()
    raw = runner.model.conv.weight.clone()
    average = hook.ema_model.module.conv.weight.clone()
    hook.before_val_epoch(runner)
    assert torch.equal(runner.model.conv.weight, average)
    hook.after_val_epoch(runner)
    assert torch.equal(runner.model.conv.weight, raw)


@pytest.mark.parametrize('buffers', [True, False])
def test_the_average_is_mmdetections_to_the_last_bit_in_two_operators(buffers):
    torch.manual_seed(0)
    source = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3).double()) for _ in range(9)))
    settings = dict(momentum=1e-4, gamma=2000, update_buffers=buffers)
    ours, theirs = StepEMA(source, **settings), ExpMomentumEMA(source, **settings)
    for step in range(5):
        for value in source.state_dict().values():
            value.add_(torch.randn(value.shape) if value.is_floating_point() else 1)
        theirs.update_parameters(source)
        with Operators() as operators:
            ours.update_parameters(source)
        for (name, average), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(average, expected), (step, name)
    if buffers:
        assert [operators.names.count(f'aten::_foreach_{name}_') for name in ('mul', 'add')] == [1, 1]
        assert not {'aten::mul_', 'aten::copy_'} & {*operators.names}


def test_the_average_follows_tensors_that_are_replaced_and_names_that_hooks_give():
    """A buffer is replaced, as by ``model.to()``, or a hook renames the entries of the state dict."""
    torch.manual_seed(0)
    for renamed in (False, True):
        source = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
        if renamed:
            source.register_state_dict_post_hook(_renamed)
        settings = dict(momentum=0.3, update_buffers=True)
        ours, theirs = StepEMA(source, **settings), ExpMomentumEMA(source, **settings)
        for _ in range(3):
            source[1].running_mean = torch.randn(3)
            source[0].weight = nn.Parameter(torch.randn(3, 3, 3, 3))
            for each in (ours, theirs):
                each.update_parameters(source)
        for name, expected in theirs.avg_parameters.items():
            assert torch.equal(ours.avg_parameters[name], expected), name
        assert not any(value.requires_grad for value in ours.avg_parameters.values())


def _renamed(module, state, prefix, *_):
    for name in [name for name in state if name.startswith(prefix)]:
        state[f'{prefix}x.{name.removeprefix(prefix)}'] = state.pop(name)


def test_a_tensor_of_several_names_is_averaged_as_by_mmdetection():
    """Some heads share convolutions between levels, such as RTMDet's."""
    source = nn.ModuleList([nn.Conv2d(3, 3, 3)] * 2)
    ours, theirs = (kind(source, momentum=0.5, update_buffers=True) for kind in (StepEMA, ExpMomentumEMA))
    for _ in range(3):
        with torch.no_grad():
            source[0].weight.add_(1)
        for each in (ours, theirs):
            each.update_parameters(source)
    assert torch.equal(ours.module[1].weight, theirs.module[1].weight)


def test_the_state_has_the_names_of_earlier_checkpoints():
    source = Net()
    assert StepEMA(source, update_buffers=True).state_dict().keys() == ExpMomentumEMA(source).state_dict().keys()
