"""``amp``: mixed precision, its type, and the settings that depend on it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmcnn.compat import private_names
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: What a config calls a precision; MMEngine's default, None, is fp16.
_DTYPES = {'float16': 'fp16', 'torch.float16': 'fp16', 'bfloat16': 'bf16', 'torch.bfloat16': 'bf16', 'None': 'fp16'}
_NAMES = {'fp16': 'float16', 'bf16': 'bfloat16'}
#: The wrapper of a GPU, which takes a type and a loss scale, and that of a CPU, which takes neither.
_ON_GPU, _ON_CPU = 'AmpOptimWrapper', 'mmcnn.BFloat16OptimWrapper'
#: bf16 has the range of float32, so that gradients need no scale, and no step is ever skipped to find one.
NO_SCALER = dict(enabled=False)


def set_amp(cfg: Config, amp: bool | str | None, say: Say = print) -> None:
    """Mixed precision: fp16 with a dynamic loss scale, bf16 without any.

    On a GPU that is MMEngine's ``AmpOptimWrapper``, on a CPU
    :class:`~mmcnn.engine.bfloat16_optim_wrapper.BFloat16OptimWrapper`.

    Args:
        cfg: changed in place. A precision that it names itself is kept unless ``amp`` names one.
        amp: 'fp16', 'bf16', 'off' (the same as False), or 'auto' (the same as True): on a GPU bf16 where the card
            computes in it and the config has no loss scale of its own, which is for fp16; on a CPU bf16 where the
            processor has instructions for it. None: as the config says (:func:`choose_precision`).
        say: takes a sentence on what was found in a CPU.

    Raises:
        UsageError: ``amp`` is fp16 on a CPU, or bf16 on a GPU without it; or it is bf16 (on a CPU that computes in it:
            or 'auto') and the config has a loss scale (on a CPU: or names float16).
    """
    wrapper = cfg.optim_wrapper
    if amp is None:
        return
    if amp in (False, 'off'):
        if wrapper.get('type') in (_ON_GPU, _ON_CPU):
            _leave_off(cfg)
        return
    if get_device() == 'cpu':
        _set_on_cpu(cfg, amp, say)
        return
    has_scale = wrapper.get('loss_scale') not in (None, 'dynamic', NO_SCALER)
    if amp in (True, 'auto'):
        named = _DTYPES.get(str(wrapper.get('dtype'))) if wrapper.get('dtype') is not None else None
        amp = named or ('bf16' if not has_scale and has_bf16() else 'fp16')
    elif amp == 'bf16':
        if has_scale:
            raise UsageError(
                f'amp=bf16 and optim_wrapper.loss_scale={wrapper.loss_scale} do not go together: a loss scale is for '
                'fp16, leave it out'
            )
        if not has_bf16():
            raise UsageError(f'amp=bf16: {torch.cuda.get_device_name()} does not compute in bfloat16, use fp16')
    wrapper.type, wrapper.dtype = _ON_GPU, _NAMES[amp]
    if amp == 'fp16' and wrapper.get('loss_scale') in (None, NO_SCALER):
        wrapper.loss_scale = 'dynamic'


def _set_on_cpu(cfg: Config, amp: bool | str, say: Say) -> None:
    """bf16 on a CPU, or nothing where 'auto' finds no instructions for it."""
    if amp == 'fp16':
        raise UsageError('amp=fp16 needs a GPU: a CPU trains in mixed precision in bf16 only, use bf16')
    features = cpu_features()
    if not features and amp != 'bf16':
        if cfg.optim_wrapper.get('type') in (_ON_GPU, _ON_CPU):
            _leave_off(cfg)
        say('note: amp is off: this processor has neither AVX512-BF16 nor AMX, without which bf16 is slower on a CPU')
        return
    cfg.optim_wrapper.type = _ON_GPU  # as the config of a GPU would say it
    _use_cpu(cfg)
    if features:
        say(f'note: mixed precision in bf16, for which this processor has {" and ".join(features)}')
    else:
        say(
            'note: amp=bf16 makes the training slower here: this processor has neither AVX512-BF16 nor AMX, which '
            'compute in it'
        )


def _use_cpu(cfg: Config) -> None:
    """Give a config that asks for mixed precision the wrapper of a CPU."""
    wrapper = cfg.optim_wrapper
    if wrapper.get('dtype') is not None and _DTYPES.get(str(wrapper.dtype)) == 'fp16':
        raise UsageError(
            f'optim_wrapper.dtype={wrapper.dtype} needs a GPU: a CPU trains in mixed precision in bfloat16 only'
        )
    if wrapper.get('loss_scale') not in (None, 'dynamic', NO_SCALER):
        raise UsageError(
            f'optim_wrapper.loss_scale={wrapper.loss_scale} needs a GPU: a loss scale is for fp16, and a CPU trains in '
            'mixed precision in bf16 only; leave it out'
        )
    wrapper.type = _ON_CPU
    _drop_arguments(wrapper)


def _leave_off(cfg: Config) -> None:
    """float32."""
    cfg.optim_wrapper.type = 'OptimWrapper'
    _drop_arguments(cfg.optim_wrapper)


def _drop_arguments(wrapper: dict) -> None:
    """Those that only the wrapper of a GPU takes."""
    for name in ('dtype', 'loss_scale', 'use_fsdp'):
        wrapper.pop(name, None)


def has_bf16() -> bool:
    """Return whether the device supports bfloat16 natively; others emulate it, slower than float32."""
    if get_device() == 'cpu':
        return bool(cpu_features())
    return torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_features() -> list[str]:
    """Return what this processor computes in bfloat16 with, by name; nothing: it has neither AVX512-BF16 nor AMX."""
    if not torch.backends.mkldnn.is_available():  # whose kernels use them
        return []
    found = private_names.cpu_capabilities()
    return [name for name, key in (('AVX512-BF16', 'avx512_bf16'), ('AMX', 'amx_bf16')) if found.get(key)]


def check_amp(cfg: Config, say: Say = print) -> None:
    """Refuse what a config or ``cfg_options`` ask for of mixed precision and cannot have; complete the loss scale.

    The wrapper of a GPU is read as that of a CPU where there is none, and the other way round.

    Args:
        cfg: with what was typed; changed in place.
        say: takes a sentence on what is read otherwise than it is written.

    Raises:
        UsageError: there is no GPU and the config asks for fp16; a type of numbers that is not of mixed precision; a
            loss scale without mixed precision, which has no use for one; one that the scaler does not take; or there is
            something to validate in the precision of nothing.
    """
    wrapper, on_cpu = cfg.optim_wrapper, get_device() == 'cpu'
    if wrapper.get('type') == _ON_CPU and not on_cpu:  # of a run on a CPU, whose config is used again
        wrapper.type = _ON_GPU
        wrapper.setdefault('dtype', 'bfloat16')
    if wrapper.get('type') in (_ON_GPU, _ON_CPU) and str(wrapper.get('dtype')) not in _DTYPES:
        names = [name for name in _DTYPES if name in _NAMES.values()]
        raise UsageError(f'optim_wrapper.dtype={wrapper.dtype!r}: {nearest(str(wrapper.dtype), names)}')
    if wrapper.get('type') == _ON_GPU and on_cpu:
        if wrapper.get('dtype') is None:
            say(f'note: optim_wrapper.type={_ON_GPU} is read as mixed precision in bf16, since this is a CPU')
        _use_cpu(cfg)
    elif wrapper.get('type') == _ON_CPU:
        _use_cpu(cfg)
    kind, scale = wrapper.get('type'), wrapper.get('loss_scale')
    if kind == 'OptimWrapper' and 'loss_scale' in wrapper:
        raise UsageError(
            f'optim_wrapper.loss_scale={scale}: a loss scale is for mixed precision, which is '
            'amp=True (or optim_wrapper.type=AmpOptimWrapper)'
        )
    if kind != _ON_GPU:
        return
    if precision_of(cfg) == 'bf16' and scale in (None, 'dynamic'):
        wrapper.loss_scale = dict(NO_SCALER)
    elif isinstance(scale, Mapping):
        _check_scaler(scale)
    elif isinstance(scale, int) and not isinstance(scale, bool):
        wrapper.loss_scale = float(scale)  # MMEngine takes no integer
    elif scale not in (None, 'dynamic') and not isinstance(scale, float):
        raise UsageError(
            f"optim_wrapper.loss_scale={scale!r}: it has to be 'dynamic', a number (a scale that stays), or entries of "
            'the scaler, such as optim_wrapper.loss_scale.init_scale=512'
        )


def _check_scaler(scale: Mapping[str, Any]) -> None:
    """Refuse what :class:`torch.amp.GradScaler` does not take."""
    known = {*inspect.signature(torch.amp.GradScaler).parameters} - {'device'}
    for name, value in scale.items():
        if name not in known:
            raise UsageError(f"optim_wrapper.loss_scale takes no '{name}'; {nearest(name, known)}")
        if name == 'enabled':
            fits, words = isinstance(value, bool), 'True or False'
        elif name == 'growth_interval':
            fits, words = isinstance(value, int) and not isinstance(value, bool) and value > 0, 'an integer above 0'
        else:
            lowest, highest = {'growth_factor': (1.0, None), 'backoff_factor': (0.0, 1.0)}.get(name, (0.0, None))
            fits = isinstance(value, int | float) and not isinstance(value, bool) and value > lowest
            fits = fits and (highest is None or value < highest)
            words = f'a number above {lowest:g}' + ('' if highest is None else f' and below {highest:g}')
        if not fits:
            raise UsageError(f'optim_wrapper.loss_scale.{name}={value!r}: it has to be {words}')


def precision_of(cfg: Mapping[str, Any]) -> str:
    """Return what a training by this config computes in: fp32, fp16 or bf16."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == _ON_CPU:
        return 'bf16'
    if wrapper.get('type') != _ON_GPU:
        return 'fp32'
    return _DTYPES.get(str(wrapper.get('dtype')), str(wrapper.get('dtype')))


def choose_precision(cfg: Config, amp: bool | str | None, typed: bool, say: Say = print) -> None:
    """Lets a new run on a CPU be in bf16 where its config leaves that to the processor (``performance.cpu_amp``).

    Args:
        cfg: changed in place; a run that is resumed goes on as it began (:func:`continue_precision`), and an optimizer
            wrapper of another kind stays.
        amp: what was typed.
        typed: whether ``optim_wrapper.type`` was.
        say: takes a sentence.
    """
    leaves = amp is None and not typed and not cfg.get('resume') and _is_left_open(cfg, amp)
    if not leaves or get_device() != 'cpu' or cfg.optim_wrapper.get('type', 'OptimWrapper') != 'OptimWrapper':
        return
    if features := cpu_features():
        cfg.optim_wrapper.type = _ON_CPU
        say(
            f'note: mixed precision in bf16 (performance.cpu_amp), for which this processor has '
            f'{" and ".join(features)}; --amp off trains in float32'
        )


def _is_left_open(cfg: Mapping[str, Any], amp: bool | str | None) -> bool:
    """Return whether nobody has said which precision a run shall have, by a wrapper of another kind either."""
    if cfg['optim_wrapper'].get('type', 'OptimWrapper') not in ('OptimWrapper', _ON_GPU, _ON_CPU):
        return False
    return amp in (True, 'auto') or (amp is None and bool((cfg.get('performance') or {}).get('cpu_amp')))


def is_channels_last(cfg: Mapping[str, Any]) -> bool:
    """Return whether a training has NHWC in memory: what the config says of it, or what is faster on a CPU.

    oneDNN's kernels take bfloat16 in that order and would rearrange every map. In float32 it pays for networks whose
    configs are made for a CPU, too (``performance.cpu_amp``; docs/performance.md). It is not written into the config,
    which another device may read.
    """
    performance = cfg.get('performance') or {}
    if (said := performance.get('channels_last')) is not None:
        return bool(said)
    return get_device() == 'cpu' and (precision_of(cfg) == 'bf16' or bool(performance.get('cpu_amp')))


def continue_precision(
    cfg: Config, recorded: Mapping[str, Any], amp: bool | str | None, typed: bool, say: Say = print
) -> None:
    """Keep a resumed run's precision if none is requested, and report if it changes.

    Left open it is by 'auto', and by a config that leaves it to the processor (``performance.cpu_amp``).

    Args:
        cfg: of this session, changed in place.
        recorded: the config of the run, as its checkpoint has it; empty: it has none.
        amp: what was typed.
        typed: whether ``optim_wrapper.type`` or ``optim_wrapper.dtype`` was.
        say: takes a sentence.
    """
    if not recorded.get('optim_wrapper'):
        return
    before, now = precision_of(recorded), precision_of(cfg)
    if before == now:
        return
    on_cpu = get_device() == 'cpu'
    # A CPU has bf16 at any rate, quick or not.
    possible = not on_cpu if before == 'fp16' else before == 'bf16' and (on_cpu or has_bf16())
    if _is_left_open(cfg, amp) and not typed and possible:
        wrapper = cfg.optim_wrapper
        if on_cpu:
            wrapper.type = _ON_CPU
        else:
            wrapper.type, wrapper.dtype = _ON_GPU, _NAMES[before]
            scale = dict(NO_SCALER) if before == 'bf16' else 'dynamic'
            wrapper.loss_scale = recorded['optim_wrapper'].get('loss_scale') or scale
        say(f'note: the run began in {before}, and goes on in it')
        return
    again = '; --amp off keeps it'
    if before in _NAMES:
        again = '' if before == 'fp16' and on_cpu else f'; --amp {before} keeps it'
    say(f'note: the run began in {before} and goes on in {now}, so it does not end in the weights it would have{again}')
