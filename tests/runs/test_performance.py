"""The performance settings of a config: which are allowed, how they are derived, and how they are applied."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import get_priority
from torch import nn

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.recipes import StepEMAHook
from mmcnn.runs import performance
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.performance import (
    DEFAULTS,
    PerformanceHook,
    check_performance,
    has_one_size,
    say_other_sync_bn,
    set_performance,
    settle_performance,
    tries_algorithms,
    use_tf32,
)
from mmcnn.runs.process_state import kept_process_state


def config(own=None, deterministic=False, amp=None, **entries):
    cfg = Config(dict(randomness=dict(deterministic=deterministic), **entries))
    if own is not None:
        cfg.performance = own
    if amp:
        cfg.optim_wrapper = dict(type='AmpOptimWrapper', dtype=amp)
    return cfg


def settled(own=None, launcher='none', typed=None, **entries):
    cfg = config(own, **entries)
    check_performance(cfg, pytest.fail)
    settle_performance(cfg, TrainOptions(config='x', launcher=launcher, amp=typed), pytest.fail)
    return cfg


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(performance, 'get_device', lambda: 'cuda')


def test_our_configs_have_the_defaults_and_older_ones_get_them():
    assert load_config('yolov5_s').performance == load_config('classification/resnet50').performance == DEFAULTS
    cfg = config()
    check_performance(cfg)
    assert cfg.performance == DEFAULTS


@pytest.mark.parametrize(
    ('own', 'message'),
    [
        (dict(channel_last=True), "performance has no entry 'channel_last'; did you mean channels_last"),
        (dict(channels_last=1), 'performance.channels_last=1: it must be True or False'),
        (dict(cpu_amp='auto'), "performance.cpu_amp='auto': it must be True or False"),
        (dict(tf32='on'), "performance.tf32='on': it must be True or False, or None"),
        (dict(compile='yes'), "compile='yes': it must be True or False or a dict of torch.compile's arguments"),
        (
            dict(compile=dict(modes='x')),
            "performance.compile: torch.compile has no argument 'modes'; did you mean mode",
        ),
        (True, 'performance=True: it must be a dict'),
    ],
)
def test_what_it_cannot_hold_is_refused(own, message):
    with pytest.raises(UsageError) as error:
        check_performance(config(own))
    assert message in str(error.value)


def test_compile_of_mmengine_is_read_as_ours_and_said_so():
    cfg, notes = config(compile=dict(mode='default')), []
    check_performance(cfg, notes.append)
    assert cfg.performance.compile == dict(mode='default') and 'compile' not in cfg
    assert [
        note.startswith("note: compile={'mode': 'default'} is read as performance.compile: ") for note in notes
    ] == [True]
    with pytest.raises(UsageError, match=r'torch\.compile has no'):
        check_performance(config(compile=dict(modes='default')), notes.append)


def test_options_add_to_it():
    cfg = config(dict(compile=dict(mode='default')))
    check_performance(cfg)
    set_performance(cfg, TrainOptions(config='x'))
    assert cfg.performance == DEFAULTS | dict(compile=dict(mode='default'))
    set_performance(cfg, TrainOptions(config='x', channels_last=True, compile=True, amp_val=True, sync_bn=True))
    assert cfg.performance == DEFAULTS | dict(channels_last=True, compile=dict(mode='default'), val_amp=True)
    assert cfg.sync_bn == 'torch'


@pytest.mark.parametrize(
    ('name', 'one'),
    [
        ('yolov5_s', True),
        ('yolov4_cspdarknet53', True),
        ('classification/resnet50', True),
        ('yolov4_cspdarknet53_darknet', False),
        ('yolov3_darknet53', False),
        ('faster_rcnn_resnet50_fpn', False),
    ],
)
def test_recipes_whose_images_have_one_size(name, one):
    assert has_one_size(load_config(name)) == one


MOSAIC = dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='mmcnn.MosaicAffine')])))


@pytest.mark.parametrize(
    ('own', 'entries', 'expected'),
    [
        (None, MOSAIC, True),
        (None, {}, False),
        (dict(cudnn_benchmark=False), MOSAIC, False),
        (dict(cudnn_benchmark=True), {}, True),
        (None, MOSAIC | dict(deterministic=True), False),
        (None, MOSAIC | dict(env_cfg=dict(cudnn_benchmark=False)), False),  # from an earlier release
        (None, dict(env_cfg=dict(cudnn_benchmark=True)), True),
        (dict(cudnn_benchmark=True), dict(env_cfg=dict(cudnn_benchmark=None)), True),
    ],
)
def test_cudnn_tries_its_algorithms_where_images_have_one_size(gpu, own, entries, expected):
    cfg = settled(own, **entries)
    assert tries_algorithms(cfg) is expected
    # The checkpoint records the user's value, because an evaluation has images of many sizes.
    assert cfg.get('env_cfg') == entries.get('env_cfg')


def test_it_does_not_on_a_cpu():
    assert not tries_algorithms(settled(None, **MOSAIC))


@pytest.mark.parametrize(
    ('own', 'entries', 'message'),
    [
        (dict(cudnn_benchmark=True), dict(env_cfg=dict(cudnn_benchmark=False)), 'contradict each other'),
        (dict(cudnn_benchmark=True), dict(deterministic=True), 'cannot be combined'),
        (dict(val_amp=True), {}, 'amp_val=True .* needs amp'),
    ],
)
def test_contradictions_are_refused(gpu, own, entries, message):
    with pytest.raises(UsageError, match=message):
        settled(own, **entries)


def test_validation_in_the_precision_of_the_training(gpu):
    assert settled(dict(val_amp=True), amp='bfloat16').performance.val_amp


def test_validation_is_in_float32_where_a_cpu_has_nothing_for_amp():
    assert settled(dict(val_amp=True), typed=True).performance.val_amp is False


def test_sync_bn_needs_gpus_and_says_so_of_one(monkeypatch):
    with pytest.raises(UsageError, match=r'^sync_bn=torch: .* only runs on GPUs; without it, .* averaged'):
        settled(sync_bn='torch')
    monkeypatch.setattr(performance, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(performance, 'world_size', lambda launcher: 2)
    settled(sync_bn='torch', launcher='pytorch')
    monkeypatch.setattr(performance, 'world_size', lambda launcher: 1)
    cfg, notes = config(sync_bn='torch'), []
    check_performance(cfg)
    settle_performance(cfg, TrainOptions(config='x'), notes.append)
    assert notes == ['note: sync_bn=torch has no effect in one process']


def test_a_resumed_run_with_another_batch_norm_is_said():
    notes = []
    for before, now in (('torch', None), (None, 'torch'), ('torch', 'torch'), (None, None)):
        say_other_sync_bn(config(sync_bn=now), config(sync_bn=before), notes.append)
    say_other_sync_bn(config(sync_bn='torch'), {}, pytest.fail)
    assert [note.partition(', so')[0] for note in notes] == [
        'note: the run began with sync_bn=torch and continues with sync_bn=None',
        'note: the run began with sync_bn=None and continues with sync_bn=torch',
    ]
    assert [note.endswith('; --sync-bn keeps it') for note in notes] == [True, False]


def test_tf32_is_set_and_put_back():
    def switches():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = switches()
    with kept_process_state():
        use_tf32(config())
        assert switches() == before
        for value in (True, False):
            use_tf32(config(dict(tf32=value)))
            assert switches() == (value, value)
    assert switches() == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, 'conv'), reason='this PyTorch has only the older switches')
def test_switches_of_tf32_are_put_back_however_they_were_set():
    """Each way to set them is tried in a separate process, forked from one that has imported mmcnn."""
    code = """
import os
import torch
from mmcnn.runs.performance import use_tf32
from mmcnn.runs.process_state import kept_process_state

def switches():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    found = [cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision]
    try:
        return [*found, torch.get_float32_matmul_precision(), cudnn.allow_tf32]
    except RuntimeError:
        return found

def check(mine):
    exec(mine)
    before = switches()
    for tf32 in (None, True, False):
        with kept_process_state():
            use_tf32(dict(performance=dict(tf32=tf32)))
        assert switches()[:len(before)] == before, (mine, tf32, before, switches())

for mine in (
    'pass',
    'torch.backends.fp32_precision = "tf32"',  # the newer switches, with which the older ones cannot be read
    'torch.backends.cuda.matmul.fp32_precision = "tf32"',
    'torch.backends.cudnn.conv.fp32_precision = "ieee"',
    'torch.set_float32_matmul_precision("medium")',
):
    if (child := os.fork()) == 0:
        check(mine)
        print('put back', flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.count('put back') == 5, done.stderr


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).relu()


@pytest.fixture
def runner():
    """``runner(**performance)`` returns a resumed runner, with momenta and averages, just before its training."""

    def make(**own):
        model = nn.Module()
        model.backbone, model.neck = Backbone(), nn.BatchNorm2d(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model.neck(model.backbone(torch.rand(2, 3, 8, 8))).sum().backward()
        optimizer.step()
        ema = StepEMAHook()
        made = SimpleNamespace(
            model=model, hooks=[ema], optim_wrapper=SimpleNamespace(optimizer=optimizer), cfg=config(own)
        )
        assert isinstance(ema, EMAHook)
        ema.before_run(made)
        return made

    return make


def test_channels_last_reaches_weights_averages_and_momenta_and_no_file(runner):
    made, hook = runner(channels_last=True), PerformanceHook()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    hook.before_train(made)
    weight, ema = made.model.backbone.conv.weight, made.hooks[0].ema_model
    momentum = made.optim_wrapper.optimizer.state[weight]['momentum_buffer']
    for value in (weight, ema.module.backbone.conv.weight, momentum):
        assert value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
    checkpoint = dict(state_dict=made.model.state_dict(), ema_state_dict=ema.state_dict())
    hook.before_save_checkpoint(made, checkpoint)
    assert all(value.is_contiguous() for part in checkpoint.values() for value in part.values())
    assert checkpoint['state_dict'].keys() == before.keys()
    assert all(torch.equal(checkpoint['state_dict'][name], value) for name, value in before.items())
    assert not weight.is_contiguous()  # the training continues unchanged


@pytest.mark.parametrize(('own', 'expected'), [({}, True), (dict(channels_last=False), False)])
def test_bf16_on_a_cpu_has_channels_last_unless_the_config_says_no(runner, own, expected):
    made = runner(**own)
    made.cfg.optim_wrapper = dict(type='mmcnn.BFloat16OptimWrapper')
    PerformanceHook().before_train(made)
    assert made.model.backbone.conv.weight.is_contiguous() is not expected


@pytest.mark.parametrize('update_buffers', [True, False])
def test_channels_last_averages_what_is_validated_and_saved(runner, update_buffers):
    made = runner(channels_last=True)
    made.hooks[0] = ema = StepEMAHook(update_buffers=update_buffers, momentum=0.5)
    ema.before_run(made)
    PerformanceHook().before_train(made)
    with torch.no_grad():
        made.model.backbone.conv.weight.fill_(3.0)
    ema.ema_model.update_parameters(made.model)  # the first update copies
    assert (ema.ema_model.module.backbone.conv.weight == 3).all()
    with torch.no_grad():
        made.model.backbone.conv.weight.fill_(5.0)
    ema.ema_model.update_parameters(made.model)
    assert 4 <= ema.ema_model.module.backbone.conv.weight.mean() <= 5
    assert torch.equal(
        ema.ema_model.state_dict()['module.backbone.conv.weight'], ema.ema_model.module.backbone.conv.weight
    )


def test_what_is_stored_is_looked_at_after_the_averages_are_in_it():
    assert get_priority(PerformanceHook.priority) > get_priority(StepEMAHook.priority)


def test_compiled_parts_keep_their_names_and_numbers(runner):
    seen = []

    def backend(module, inputs):
        seen.append(module)
        return module

    made, image = runner(compile=dict(backend=backend)), torch.rand(2, 3, 8, 8)
    names, expected = [*made.model.state_dict()], made.model.backbone(image)
    PerformanceHook().before_train(made)
    torch.testing.assert_close(made.model.neck(made.model.backbone(image)), made.model.neck(expected))
    assert seen and [*made.model.state_dict()] == names


def test_cudnn_tries_no_algorithms_in_a_validation(runner):
    with kept_process_state():
        hook, made = PerformanceHook(), runner(cudnn_benchmark=True)
        hook.before_train(made)
        assert torch.backends.cudnn.benchmark
        hook.before_val_epoch(made)
        assert not torch.backends.cudnn.benchmark
        hook.after_val_epoch(made)
        assert torch.backends.cudnn.benchmark


@pytest.mark.slow
def test_a_training_in_channels_last_and_compiled_is_the_same_but_for_rounding(shapes, tmp_path):
    """Its checkpoints can be resumed, evaluated and loaded like others."""
    options = dict(data=shapes, device='cpu', img_size=64, batch_size=4, workers=0, epochs=2)
    tiny = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
    quick = {'performance.compile': dict(backend='aot_eager')}
    plain = mmcnn.train('yolov5_n', work_dir=tmp_path / 'plain', cfg_options=tiny, **options)
    fast = mmcnn.train('yolov5_n', work_dir=tmp_path / 'fast', cfg_options=tiny | quick, channels_last=True, **options)
    # Rounding errors of the first steps grow: the weights diverge.
    for one, other, rounding in zip(plain.history, fast.history, (1e-5, 1e-2), strict=True):
        assert other['loss'] == pytest.approx(one['loss'], rel=rounding)
    weights = [torch.load(each.last, weights_only=True)['state_dict'] for each in (plain, fast)]
    assert weights[0].keys() == weights[1].keys()
    assert all(value.is_contiguous() for value in weights[1].values())
    assert mmcnn.evaluate(fast.last, data=shapes, work_dir=tmp_path / 'test', device='cpu').metrics.keys()
    more = options | dict(epochs=3)
    resumed = mmcnn.train('yolov5_n', work_dir=tmp_path / 'fast', cfg_options=tiny, resume=True, **more)
    assert len(resumed.history) == 3
