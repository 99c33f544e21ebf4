"""Mixed precision: float16 or bfloat16, the loss scale, and the precision of a resumed run."""

import pytest
import torch
from mmengine.config import Config

from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.precision import (
    check_amp,
    choose_precision,
    continue_precision,
    cpu_features,
    is_channels_last,
    precision_of,
    set_amp,
)
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state

CONFIG = 'yolov4_cspdarknet53'


@pytest.fixture
def card(monkeypatch):
    """``card(bf16)`` simulates a GPU with or without bfloat16."""

    def use(bf16):
        monkeypatch.setattr('mmcnn.runs.precision.get_device', lambda: 'cuda')
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: bf16)
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device=None: 'Old Card')

    return use


def with_scale(scale):
    return load_config(CONFIG, {'optim_wrapper.loss_scale': scale}, say=lambda note: None)


def test_without_amp_nothing_changes(card):
    card(True)
    cfg = load_config(CONFIG)
    set_amp(cfg, False)
    check_amp(cfg)
    assert cfg.optim_wrapper.type == 'OptimWrapper' and precision_of(cfg) == 'fp32'
    assert 'loss_scale' not in cfg.optim_wrapper


@pytest.mark.parametrize(
    ('bf16', 'amp', 'expected'),
    [
        (True, True, 'bf16'),
        (True, 'auto', 'bf16'),
        (False, True, 'fp16'),
        (False, 'auto', 'fp16'),
        (True, 'fp16', 'fp16'),
        (True, 'bf16', 'bf16'),
    ],
)
def test_the_card_decides_unless_one_is_named(card, bf16, amp, expected):
    card(bf16)
    cfg = load_config(CONFIG)
    set_amp(cfg, amp)
    check_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and precision_of(cfg) == expected
    assert cfg.optim_wrapper.loss_scale == (dict(enabled=False) if expected == 'bf16' else 'dynamic')
    assert cfg.optim_wrapper.constructor == 'mmcnn.YOLOOptimWrapperConstructor'


def test_bf16_is_refused_by_a_card_that_has_it_not(card):
    card(False)
    with pytest.raises(UsageError, match=r'^amp=bf16: Old Card does not support bfloat16; use fp16$'):
        set_amp(load_config(CONFIG), 'bf16')


def test_a_loss_scale_of_the_config_is_kept_and_means_fp16(card):
    card(True)
    cfg = with_scale(dict(init_scale=512.0))
    with pytest.raises(UsageError, match=r'loss_scale={.*512.* needs mixed precision: amp=True'):
        check_amp(cfg)
    with pytest.raises(UsageError, match=r'amp=bf16 and optim_wrapper\.loss_scale=.* a loss scale is for fp16'):
        set_amp(cfg, 'bf16')
    set_amp(cfg, True)
    check_amp(cfg)
    assert precision_of(cfg) == 'fp16' and cfg.optim_wrapper.loss_scale == dict(init_scale=512.0)


def test_a_precision_of_the_config_is_kept(card):
    card(True)
    cfg = load_config(CONFIG, {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'float16'})
    set_amp(cfg, True)
    assert precision_of(cfg) == 'fp16'


def test_bf16_of_a_config_has_no_scaler_either(card):
    card(True)
    cfg = load_config(CONFIG, {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'})
    check_amp(cfg)
    assert cfg.optim_wrapper.loss_scale == dict(enabled=False)


def test_an_integer_scale_becomes_what_mmengine_takes(card):
    card(True)
    cfg = with_scale(512)
    set_amp(cfg, True)
    check_amp(cfg)
    assert type(cfg.optim_wrapper.loss_scale) is float and cfg.optim_wrapper.loss_scale == 512


@pytest.mark.parametrize(
    ('scale', 'message'),
    [
        (dict(init_scal=512), "optim_wrapper.loss_scale has no entry 'init_scal'; did you mean init_scale"),
        (dict(init_scale='big'), "optim_wrapper.loss_scale.init_scale='big': it must be a number above 0"),
        (dict(growth_factor=1.0), 'loss_scale.growth_factor=1.0: it must be a number above 1'),
        (dict(backoff_factor=2), 'loss_scale.backoff_factor=2: it must be a number above 0 and below 1'),
        (dict(growth_interval=0.5), 'loss_scale.growth_interval=0.5: it must be an integer above 0'),
        ('static', "optim_wrapper.loss_scale='static': it must be 'dynamic', a number"),
    ],
)
def test_what_the_scaler_does_not_take_is_refused(card, scale, message):
    card(True)
    cfg = with_scale(scale)
    set_amp(cfg, 'fp16')
    with pytest.raises(UsageError) as error:
        check_amp(cfg)
    assert message in str(error.value)


@pytest.mark.parametrize('dtype', ['bloat16', 'float61', 'float32', 'fp16'])
def test_a_type_that_is_none_of_mixed_precision_is_refused(card, dtype):
    card(True)
    cfg = load_config(CONFIG, {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': dtype})
    with pytest.raises(UsageError, match=rf"^optim_wrapper\.dtype='{dtype}': did you mean b?float16"):
        check_amp(cfg)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', torch.float16, torch.bfloat16, None])
def test_types_of_mixed_precision_are_taken(card, dtype):
    card(True)
    cfg = load_config(CONFIG)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    check_amp(cfg)


def test_an_entry_of_the_scaler_is_typed_without_a_doubt():
    notes = []
    cfg = load_config(CONFIG, {'optim_wrapper.loss_scale.init_scale': 512.0}, say=notes.append)
    assert cfg.optim_wrapper.loss_scale == dict(init_scale=512.0) and notes == []


BOTH = ['AVX512-BF16', 'AMX']
FOUND = 'which this processor supports by AVX512-BF16 and AMX'


@pytest.fixture
def cpu(monkeypatch):
    """``cpu(features)`` simulates a machine without a GPU whose processor has these bfloat16 features."""

    def use(features):
        monkeypatch.setattr('mmcnn.runs.precision.get_device', lambda: 'cpu')
        monkeypatch.setattr('mmcnn.runs.precision.cpu_features', lambda: features)

    return use


def on_cpu(amp, options=None, typed=False):
    """Return the config and the notes of a new run on a CPU."""
    notes = []
    cfg = load_config(CONFIG, options or {}, say=lambda note: None)
    set_amp(cfg, amp, notes.append)
    check_amp(cfg, notes.append)
    choose_precision(cfg, amp, typed, notes.append)
    return cfg, notes


@pytest.mark.parametrize(
    ('features', 'amp', 'precision', 'note'),
    [
        (BOTH, True, 'bf16', f'note: mixed precision in bf16, {FOUND}'),
        (['AMX'], 'auto', 'bf16', 'note: mixed precision in bf16, which this processor supports by AMX'),
        (BOTH, 'bf16', 'bf16', f'note: mixed precision in bf16, {FOUND}'),
        (
            [],
            'auto',
            'fp32',
            'note: amp is off: bf16 is slower on this processor, which has neither AVX512-BF16 nor AMX',
        ),
        ([], 'bf16', 'bf16', 'note: amp=bf16 makes the training slower on this processor, which has neither'),
    ],
)
def test_the_processor_decides_and_what_was_found_is_said(cpu, features, amp, precision, note):
    cpu(features)
    cfg, notes = on_cpu(amp)
    assert precision_of(cfg) == precision
    assert len(notes) == 1 and notes[0].startswith(note)
    assert not {'dtype', 'loss_scale'} & cfg.optim_wrapper.keys()
    assert is_channels_last(cfg) is (precision == 'bf16')


@pytest.mark.parametrize('amp', [None, False, 'off'])
def test_nothing_is_chosen_or_said_unless_it_is_asked_for(cpu, amp):
    cpu(BOTH)
    cfg, notes = on_cpu(amp)
    assert precision_of(cfg) == 'fp32' and notes == []


@pytest.mark.parametrize(
    ('amp', 'options', 'message'),
    [
        ('fp16', {}, 'amp=fp16 needs a GPU: a CPU only supports bf16 as mixed precision; use bf16'),
        (None, {'type': 'AmpOptimWrapper', 'dtype': 'float16'}, 'optim_wrapper.dtype=float16 needs a GPU: '),
        (True, {'dtype': 'float16'}, 'optim_wrapper.dtype=float16 needs a GPU: '),
        (True, {'loss_scale': 512}, 'optim_wrapper.loss_scale=512 needs a GPU: a loss scale is for fp16, and a CPU '),
        (None, {'type': 'mmcnn.BFloat16OptimWrapper', 'loss_scale': 8.0}, 'optim_wrapper.loss_scale=8.0 needs a GPU: '),
        (None, {'type': 'mmcnn.BFloat16OptimWrapper', 'dtype': 'float16'}, 'optim_wrapper.dtype=float16 needs a GPU: '),
        (None, {'type': 'mmcnn.BFloat16OptimWrapper', 'dtype': 'float61'}, "optim_wrapper.dtype='float61': did you "),
    ],
)
def test_fp16_is_refused_on_a_cpu(cpu, amp, options, message):
    cpu(BOTH)
    with pytest.raises(UsageError) as error:
        on_cpu(amp, {f'optim_wrapper.{name}': value for name, value in options.items()})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(('dtype', 'notes'), [('bfloat16', 0), (None, 1)])
def test_a_config_for_gpus_is_read_as_bf16(cpu, dtype, notes):
    cpu(BOTH)
    options = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'}
    cfg, said = on_cpu(None, options | ({'optim_wrapper.dtype': dtype} if dtype else {}))
    assert precision_of(cfg) == 'bf16' and cfg.optim_wrapper.type == 'mmcnn.BFloat16OptimWrapper'
    assert len(said) == notes and all('is read as mixed precision in bf16' in note for note in said)


def test_a_config_of_a_run_on_a_cpu_is_read_on_a_gpu(card):
    card(True)
    cfg = load_config(CONFIG, {'optim_wrapper.type': 'mmcnn.BFloat16OptimWrapper'})
    check_amp(cfg)
    assert (cfg.optim_wrapper.type, precision_of(cfg)) == ('AmpOptimWrapper', 'bf16')
    assert cfg.optim_wrapper.loss_scale == dict(enabled=False) and not is_channels_last(cfg)


@pytest.mark.parametrize(
    ('features', 'amp', 'typed', 'precision'),
    [(BOTH, None, False, 'bf16'), ([], None, False, 'fp32'), (BOTH, 'off', False, 'fp32'), (BOTH, None, True, 'fp32')],
)
def test_a_config_may_leave_it_to_the_processor(cpu, features, amp, typed, precision):
    cpu(features)
    cfg, notes = on_cpu(amp, {'performance.cpu_amp': True}, typed)
    assert precision_of(cfg) == precision
    chosen = [f'note: mixed precision in bf16 (performance.cpu_amp), {FOUND}; to train in float32, use --amp off']
    assert notes == (chosen if precision == 'bf16' else [])


@pytest.mark.parametrize(('features', 'amp'), [(BOTH, None), ([], True)])
def test_a_wrapper_of_another_kind_stays_where_nothing_is_chosen(cpu, features, amp):
    cpu(features)
    cfg, _ = on_cpu(amp, {'performance.cpu_amp': True, 'optim_wrapper.type': 'MyWrapper'})
    assert cfg.optim_wrapper.type == 'MyWrapper'
    continue_precision(cfg, of_precision('bf16'), amp, False, lambda note: None)
    assert cfg.optim_wrapper.type == 'MyWrapper'


@pytest.mark.parametrize('amp', [None, 'off'])
def test_what_only_the_wrapper_of_a_gpu_takes_goes_with_it(cpu, amp):
    cpu(BOTH)
    options = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale='dynamic', use_fsdp=True)
    cfg, _ = on_cpu(amp, {f'optim_wrapper.{name}': value for name, value in options.items()})
    assert not {'dtype', 'loss_scale', 'use_fsdp'} & cfg.optim_wrapper.keys()


def test_on_a_gpu_it_leaves_it_to_nobody(card):
    card(True)
    cfg = load_config(CONFIG, {'performance.cpu_amp': True})
    choose_precision(cfg, None, False, pytest.fail)
    assert precision_of(cfg) == 'fp32'


@pytest.mark.parametrize(
    ('features', 'before', 'amp', 'cpu_amp', 'now'),
    [
        (BOTH, 'fp32', None, True, 'fp32'),
        (BOTH, 'bf16', None, True, 'bf16'),
        ([], 'bf16', None, True, 'bf16'),
        ([], 'bf16', True, False, 'bf16'),
        (BOTH, 'bf16', 'off', True, 'fp32'),
        (BOTH, 'bf16', None, False, 'fp32'),
        (BOTH, 'fp16', True, False, 'bf16'),
    ],
)
def test_a_run_that_is_resumed_on_a_cpu_keeps_its_arithmetic_where_it_is_left_open(
    cpu, features, before, amp, cpu_amp, now
):
    cpu(features)
    cfg, notes = load_config(CONFIG, {'performance.cpu_amp': cpu_amp}), []
    set_amp(cfg, amp, lambda note: None)
    check_amp(cfg, pytest.fail)
    continue_precision(cfg, of_precision(before), amp, False, notes.append)
    assert precision_of(cfg) == now
    kept = f'note: the run began in {before}, which is kept'
    lost = f'note: the run began in {before} and continues in {now}, so its final weights will differ'
    hint = '' if before == 'fp16' else f'; --amp {before} keeps it'
    assert notes in ([], [kept]) if before == now else notes == [lost + hint]


def test_what_the_processor_has_is_asked_of_pytorch(monkeypatch):
    for found in ({}, dict(avx512_bf16=True), dict(amx_bf16=True, avx512_bf16=False)):
        monkeypatch.setattr('mmcnn.compat.onednn.cpu_capabilities', lambda found=found: found)
        expected = [name for name, key in (('AVX512-BF16', 'avx512_bf16'), ('AMX', 'amx_bf16')) if found.get(key)]
        assert cpu_features() == expected
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert cpu_features() == []


def of_precision(precision):
    if precision == 'fp32':
        return Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    dtype, scale = dict(fp16=('float16', dict(init_scale=8.0)), bf16=('bfloat16', dict(enabled=False)))[precision]
    return Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype=dtype, loss_scale=scale)))


@pytest.mark.parametrize(('before', 'now'), [('fp16', 'bf16'), ('bf16', 'fp16')])
def test_a_resumed_run_goes_on_in_its_precision_where_amp_names_none(card, before, now):
    card(True)
    cfg, notes = of_precision(now), []
    continue_precision(cfg, of_precision(before), True, False, notes.append)
    assert precision_of(cfg) == before
    assert cfg.optim_wrapper.loss_scale == of_precision(before).optim_wrapper.loss_scale
    assert notes == [f'note: the run began in {before}, which is kept']


@pytest.mark.parametrize(
    ('before', 'now', 'amp', 'end'),
    [
        ('bf16', 'fp32', False, '; --amp bf16 keeps it'),
        ('fp16', 'bf16', 'bf16', '; --amp fp16 keeps it'),
        ('fp32', 'bf16', True, '; --amp off keeps it'),
        ('fp32', 'bf16', None, '; --amp off keeps it'),  # set in the config
    ],
)
def test_another_precision_than_before_is_said(card, before, now, amp, end):
    card(True)
    cfg, notes = of_precision(now), []
    continue_precision(cfg, of_precision(before), amp, False, notes.append)
    assert precision_of(cfg) == now
    assert notes == [f'note: the run began in {before} and continues in {now}, so its final weights will differ{end}']


def test_a_precision_that_is_typed_as_an_entry_of_the_config_wins(card):
    card(True)
    cfg, notes = of_precision('bf16'), []
    continue_precision(cfg, of_precision('fp16'), True, True, notes.append)
    assert precision_of(cfg) == 'bf16' and notes[0].endswith('; --amp fp16 keeps it')


def test_the_same_precision_and_a_checkpoint_without_a_config_say_nothing(card):
    card(True)
    continue_precision(of_precision('bf16'), of_precision('bf16'), True, False, pytest.fail)
    continue_precision(of_precision('bf16'), {}, True, False, pytest.fail)


@pytest.mark.parametrize(
    ('typed', 'precision', 'note'),
    [
        ({}, 'bf16', ', which is kept'),
        ({'optim_wrapper.type': 'OptimWrapper'}, 'fp32', ' and continues in fp32, so '),
    ],
)
def test_a_wrapper_that_is_typed_wins_over_that_of_the_run(shapes, trained, tmp_path, typed, precision, note):
    content = torch.load(trained.checkpoint, weights_only=False)
    content['meta']['cfg'] += "\noptim_wrapper = dict(type='mmcnn.BFloat16OptimWrapper')\n"
    torch.save(content, tmp_path / 'x.pth')
    options = TrainOptions(
        config='yolov4_cspdarknet53_narrow', data=shapes, work_dir=tmp_path / 'run', device='cpu',
        resume=tmp_path / 'x.pth', cfg_options={'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33, **typed},
    )  # fmt: skip
    with kept_process_state():
        run = prepare(options)
    assert precision_of(run.cfg) == precision
    assert sum(each.startswith(f'note: the run began in bf16{note}') for each in run.notes) == 1
