"""The schedules against published numbers, and the hook in a Runner."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmcnn.recipes.schedule_hook import ScheduleHook, lr_factor, warmup_iters, warmup_value

ITERS = 6  # iterations per epoch of the toy run


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, inputs, mode='tensor'):
        return {'loss': self.norm(self.conv(inputs)).square().mean()}


class Recorder(Hook):
    """Notes the learning rate of each parameter group before each iteration, and momentum and initial rate."""

    priority = 'LOWEST'

    def __init__(self):
        self.lr, self.momentum, self.initial_lr = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.lr.append({group['name']: group['lr'] for group in groups})
        self.momentum.append(runner.optim_wrapper.get_momentum()['momentum'])
        self.initial_lr.append([group['initial_lr'] for group in groups])


def make_runner(work_dir, hook, epochs=4, optimizer=None, recorder=None, accumulate=1, **kwargs):
    optim_wrapper = {
        'type': 'OptimWrapper',
        'accumulative_counts': accumulate,
        'optimizer': optimizer or {'type': 'SGD', 'lr': 0.01, 'momentum': 0.937, 'nesterov': True},
        'constructor': 'mmcnn.YOLOOptimWrapperConstructor',
    }
    settings = {
        'model': Net(),
        'work_dir': str(work_dir),
        'train_dataloader': DataLoader([{'inputs': image} for image in torch.randn(ITERS, 1, 4, 4)]),
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs},
        'optim_wrapper': optim_wrapper,
        'custom_hooks': [hook, recorder or Recorder()],
        'default_hooks': {'logger': {'type': 'LoggerHook', 'interval': 1}},
        'experiment_name': f'{work_dir}',
        'log_level': 'ERROR',
    }
    settings.update(kwargs)
    return Runner(**settings)


# Reference values for lr0 0.01 and 300 epochs.
@pytest.mark.parametrize(('epoch', 'lr'), [(0, 0.01), (1, 0.009967), (50, 0.00835), (150, 0.00505), (299, 0.000133)])
def test_linear(epoch, lr):
    assert 0.01 * lr_factor('linear', epoch / 300, lr_final=0.01) == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize(
    ('epoch', 'lr'), [(0, 0.01), (1, 0.00999975), (50, 0.00939711), (150, 0.0055), (299, 0.00100025)]
)
def test_cosine(epoch, lr):
    assert 0.01 * lr_factor('cosine', epoch / 300, lr_final=0.1) == pytest.approx(lr, abs=5e-9)


@pytest.mark.parametrize(
    ('iteration', 'factor'), [(0, 1), (400_399, 1), (400_400, 0.1), (450_449, 0.1), (450_450, 0.01), (500_499, 0.01)]
)
def test_step_changes_at_the_milestone(iteration, factor):
    assert lr_factor('step', iteration / 500_500, milestones=(0.8, 0.9)) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(
    ('iteration', 'lr'), [(0, 0), (100, 1.3e-7), (500, 8.125e-5), (999, 0.00129481), (1000, 0.0013)]
)
def test_darknet_burn_in(iteration, lr):
    assert warmup_value(iteration, 1000, 0.0, 0.0013, power=4) == pytest.approx(lr, abs=5e-9)


def test_linear_warmup_of_the_three_values():
    assert warmup_value(25, 100, 0.1, 0.01) == pytest.approx(0.0775)
    assert warmup_value(25, 100, 0.8, 0.937) == pytest.approx(0.83425)
    assert warmup_value(0, 0, 0.0, 0.01) == 0.01  # no warm-up


@pytest.mark.parametrize(
    ('epochs', 'per_epoch', 'total_epochs', 'expected'),
    [
        (3, 1849, 300, 5547),  # COCO, batch 64
        (3, 10, 300, 100),  # small data: at least 100 iterations
        (3, 10, 20, 66),  # short run: at most a third of 200 iterations
        (3, 1, 2, 0),
        (0, 10, 300, 100),
        (2.5, 101, 100, 252),
    ],
)
def test_warmup_length(epochs, per_epoch, total_epochs, expected):
    assert warmup_iters(epochs, per_epoch, total_epochs) == expected


def test_darknet_warmup_length():
    assert warmup_iters(0, 1833, 273, min_iters=1000) == 1000


def test_values_in_a_run(tmp_path):
    """A third (8) of the 24 iterations warm up; then a cosine to 0.1, by epoch."""
    recorder = Recorder()
    make_runner(tmp_path, {'type': 'mmcnn.ScheduleHook'}, recorder=recorder).train()
    factor = [1.0, 0.868198, 0.55, 0.231802]  # (1 + cos(pi e / 4)) / 2 * 0.9 + 0.1
    assert len(recorder.lr) == 24
    for i, (lr, momentum) in enumerate(zip(recorder.lr, recorder.momentum, strict=True)):
        target = 0.01 * factor[i // ITERS]
        warm = min(i / 8, 1)
        assert lr['weight'] == lr['norm'] == pytest.approx(warm * target, abs=1e-8)
        assert lr['bias'] == pytest.approx(0.1 + warm * (target - 0.1), abs=1e-8)
        assert momentum == pytest.approx([0.8 + warm * 0.137] * 3)
    assert recorder.initial_lr == [[0.01] * 3] * 24


def test_logged_rate_is_the_one_used(tmp_path):
    recorder = Recorder()
    make_runner(tmp_path, {'type': 'mmcnn.ScheduleHook'}, epochs=2, recorder=recorder).train()
    (scalars,) = Path(tmp_path).rglob('vis_data/scalars.json')
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [entry['lr'] for entry in logged] == pytest.approx([lr['weight'] for lr in recorder.lr])
    assert [entry['base_lr'] for entry in logged] == pytest.approx([lr['weight'] for lr in recorder.lr])


def test_darknet_form_in_a_run(tmp_path):
    hook = {
        'type': 'mmcnn.ScheduleHook',
        'schedule': 'step',
        'milestones': (0.5, 0.75),
        'warmup_epochs': 0,
        'warmup_min_iters': 5,
        'warmup_power': 4,
        'warmup_bias_lr': None,
        'warmup_momentum': None,
    }
    recorder = Recorder()
    optimizer = {'type': 'SGD', 'lr': 1.3e-3, 'momentum': 0.949}
    make_runner(tmp_path, hook, optimizer=optimizer, recorder=recorder).train()
    expected = [1.3e-3 * (i / 5) ** 4 for i in range(5)] + [1.3e-3] * 7 + [1.3e-4] * 6 + [1.3e-5] * 6
    for group in ('weight', 'norm', 'bias'):
        assert [lr[group] for lr in recorder.lr] == pytest.approx(expected)
    assert recorder.momentum == [[0.949] * 3] * 24


def test_adam_warms_its_first_beta_only(tmp_path):
    recorder = Recorder()
    optimizer = {'type': 'AdamW', 'lr': 1e-3, 'betas': (0.9, 0.99)}
    runner = make_runner(tmp_path, ScheduleHook(), epochs=2, optimizer=optimizer, recorder=recorder)
    runner.train()
    assert [momentum[0] for momentum in recorder.momentum[:5]] == pytest.approx([0.8, 0.825, 0.85, 0.875, 0.9])
    assert runner.optim_wrapper.optimizer.param_groups[0]['betas'] == (0.9, 0.99)


def test_a_momentum_of_zero_stays_zero(tmp_path):
    recorder = Recorder()
    make_runner(tmp_path, ScheduleHook(), epochs=2, optimizer={'type': 'SGD', 'lr': 0.01}, recorder=recorder).train()
    assert recorder.momentum == [[0] * 3] * 12


def test_accumulation_does_not_change_the_schedule(tmp_path):
    plain, accumulated = Recorder(), Recorder()
    make_runner(tmp_path / 'a', ScheduleHook(), recorder=plain).train()
    make_runner(tmp_path / 'b', ScheduleHook(), recorder=accumulated, accumulate=3).train()
    assert plain.lr == accumulated.lr


def test_warmup_in_steps_of_accumulated_iterations(tmp_path):
    hook = dict(
        type='mmcnn.ScheduleHook', schedule='step', milestones=(0.9,), warmup_epochs=0, warmup_min_iters=2,
        warmup_start=0.1, warmup_bias_lr=None, warmup_momentum=None,
    )  # fmt: skip
    iterations, steps = Recorder(), Recorder()
    optimizer = {'type': 'SGD', 'lr': 0.01}
    make_runner(tmp_path / 'a', hook, optimizer=optimizer, recorder=iterations, accumulate=3).train()
    make_runner(
        tmp_path / 'b', {**hook, 'warmup_in_steps': True}, optimizer=optimizer, recorder=steps, accumulate=3
    ).train()
    assert [lr['weight'] for lr in iterations.lr[:3]] == pytest.approx([0.001, 0.0055, 0.01])
    # The warm-up starts at a tenth and takes two steps of three iterations each.
    assert [lr['weight'] for lr in steps.lr[:7]] == pytest.approx([0.001 + 0.009 * i / 6 for i in range(6)] + [0.01])


@pytest.mark.parametrize('stop', [1, 3])  # inside and after the warm-up
def test_resumed_run_follows_the_same_path(tmp_path, stop):
    straight, resumed = Recorder(), Recorder()
    make_runner(tmp_path / 'straight', ScheduleHook(), recorder=straight).train()

    class Stop(Hook):
        def before_train_epoch(self, runner):
            if runner.epoch == stop:
                raise KeyboardInterrupt

    checkpoint = {
        'logger': {'type': 'LoggerHook', 'interval': 1},
        'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
    }
    runner = make_runner(tmp_path / 'resumed', ScheduleHook(), default_hooks=checkpoint)
    runner.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    make_runner(
        tmp_path / 'resumed', ScheduleHook(), recorder=resumed, resume=True, experiment_name=f'{tmp_path} resumed'
    ).train()
    assert resumed.lr == straight.lr[stop * ITERS :]
    assert resumed.momentum == straight.momentum[stop * ITERS :]


def test_resuming_with_another_rate_uses_it(tmp_path):
    hook = {'type': 'mmcnn.ScheduleHook', 'warmup_epochs': 0, 'warmup_min_iters': 0, 'lr_final': 1.0}
    checkpoint = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}}
    make_runner(tmp_path, hook, epochs=1, default_hooks=checkpoint).train()
    recorder = Recorder()
    optimizer = {'type': 'SGD', 'lr': 0.003, 'momentum': 0.9}
    make_runner(
        tmp_path, hook, epochs=2, optimizer=optimizer, recorder=recorder, resume=True, experiment_name=f'{tmp_path} 2'
    ).train()
    assert recorder.lr == [dict.fromkeys(('weight', 'norm', 'bias'), 0.003)] * ITERS
    assert recorder.momentum == [[0.9] * 3] * ITERS


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'schedule': 'cosin'}, r"unknown schedule 'cosin'; use one of cosine, linear, step"),
        ({'lr_final': -0.1}, 'lr_final must not be negative, but is -0.1'),
        ({'warmup_epochs': -1}, 'warmup_epochs must not be negative'),
        ({'warmup_min_iters': -1}, 'warmup_min_iters must not be negative'),
        ({'warmup_bias_lr': -0.1}, 'warmup_bias_lr must not be negative'),
        ({'schedule': 'step', 'milestones': (0.5,), 'gamma': -1}, 'gamma must not be negative'),
        ({'warmup_power': 0}, 'warmup_power must be positive'),
        ({'warmup_max_fraction': 2}, r'0 to 1, but is 2'),
        ({'warmup_momentum': 1.0}, r'warmup_momentum must be in \[0, 1\)'),
        ({'schedule': 'step'}, "schedule 'step' with milestones"),
        ({'milestones': (0.5,)}, "are for schedule 'step'"),
        ({'schedule': 'step', 'milestones': (218, 246)}, r'between 0 and 1, but are \(218, 246\)'),
        ({'schedule': 'step', 'milestones': (0.9, 0.8)}, 'increasing'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScheduleHook(**arguments)


def test_unknown_schedule_function():
    with pytest.raises(ValueError, match='use one of cosine, linear, step'):
        lr_factor('constant', 0.0)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'param_scheduler': {'type': 'ConstantLR', 'factor': 0.5}}, r'param_scheduler \(ConstantLR\)'),
        ({'train_cfg': {'by_epoch': False, 'max_iters': 5}}, 'IterBasedTrainLoop'),
        ({'auto_scale_lr': {'enable': True, 'base_batch_size': 64}}, 'auto_scale_lr'),
        ({'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.01}}}, 'warmup_bias_lr=0.1 acts on'),
    ],
)
def test_runs_it_refuses(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make_runner(tmp_path, ScheduleHook(), **settings).train()
