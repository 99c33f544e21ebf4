"""Mixed precision: which of the two, its loss scale, and what a resumed run goes on in."""

import pytest
import torch
from mmengine.config import Config

from mmcnn.config.load import load_config
from mmcnn.errors import UsageError
from mmcnn.runs.precision import check_amp, continue_precision, precision_of, set_amp

CONFIG = 'yolov4_cspdarknet53'


@pytest.fixture
def card(monkeypatch):
    """``card(bf16)``: there is a GPU, which computes in bfloat16 or does not."""

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
    with pytest.raises(UsageError, match=r'^amp=bf16: Old Card does not compute in bfloat16, use fp16$'):
        set_amp(load_config(CONFIG), 'bf16')


def test_a_loss_scale_of_the_config_is_kept_and_means_fp16(card):
    card(True)
    cfg = with_scale(dict(init_scale=512.0))
    with pytest.raises(UsageError, match=r'loss_scale=\{.*512.* is for mixed precision, which is amp=True'):
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
        (dict(init_scal=512), "optim_wrapper.loss_scale takes no 'init_scal'; did you mean init_scale"),
        (dict(init_scale='big'), "optim_wrapper.loss_scale.init_scale='big': it has to be a number above 0"),
        (dict(growth_factor=1.0), 'loss_scale.growth_factor=1.0: it has to be a number above 1'),
        (dict(backoff_factor=2), 'loss_scale.backoff_factor=2: it has to be a number above 0 and below 1'),
        (dict(growth_interval=0.5), 'loss_scale.growth_interval=0.5: it has to be an integer above 0'),
        ('static', "optim_wrapper.loss_scale='static': it has to be 'dynamic', a number"),
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


def test_on_a_cpu_it_is_refused(monkeypatch):
    monkeypatch.setattr('mmcnn.runs.precision.get_device', lambda: 'cpu')
    for amp in (True, 'bf16'):
        with pytest.raises(UsageError, match=f'^amp={amp} needs a GPU: '):
            set_amp(load_config(CONFIG), amp)
    cfg = load_config(CONFIG, {'optim_wrapper.type': 'AmpOptimWrapper'})
    with pytest.raises(UsageError, match=r'^optim_wrapper\.type=AmpOptimWrapper needs a GPU: .*, use OptimWrapper$'):
        check_amp(cfg)


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
    assert notes == [f'note: the run began in {before}, and goes on in it']


@pytest.mark.parametrize(
    ('before', 'now', 'amp', 'end'),
    [
        ('bf16', 'fp32', False, '; --amp bf16 keeps it'),
        ('fp16', 'bf16', 'bf16', '; --amp fp16 keeps it'),
        ('fp32', 'bf16', True, '; without --amp it goes on as it began'),
    ],
)
def test_another_precision_than_before_is_said(card, before, now, amp, end):
    card(True)
    cfg, notes = of_precision(now), []
    continue_precision(cfg, of_precision(before), amp, False, notes.append)
    assert precision_of(cfg) == now
    assert notes == [
        f'note: the run began in {before} and goes on in {now}, so it does not end in the weights it would have{end}'
    ]


def test_a_precision_that_is_typed_as_an_entry_of_the_config_wins(card):
    card(True)
    cfg, notes = of_precision('bf16'), []
    continue_precision(cfg, of_precision('fp16'), True, True, notes.append)
    assert precision_of(cfg) == 'bf16' and notes[0].endswith('; --amp fp16 keeps it')


def test_the_same_precision_and_a_checkpoint_without_a_config_say_nothing(card):
    card(True)
    continue_precision(of_precision('bf16'), of_precision('bf16'), True, False, pytest.fail)
    continue_precision(of_precision('bf16'), {}, True, False, pytest.fail)
