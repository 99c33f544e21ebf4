"""``amp``: mixed precision, its type, and the settings that depend on it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmcnn.compat.onednn import cpu_features
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Names of precisions in a config; MMEngine's default, None, is fp16.
_DTYPES = {'float16': 'fp16', 'torch.float16': 'fp16', 'bfloat16': 'bf16', 'torch.bfloat16': 'bf16', 'None': 'fp16'}
_NAMES = {'fp16': 'float16', 'bf16': 'bfloat16'}
#: The wrapper of a GPU, which takes a type and a loss scale, and that of a CPU, which takes neither.
_ON_GPU, _ON_CPU = 'AmpOptimWrapper', 'mmcnn.BFloat16OptimWrapper'
#: bf16 has the range of float32, so that gradients need no scale, and no step is skipped to find one.
NO_SCALER = dict(enabled=False)


def set_amp(cfg: Config, amp: bool | str | None, say: Say = print) -> None:
    """Set mixed precision: fp16 with a dynamic loss scale, bf16 without any.

    This uses MMEngine's ``AmpOptimWrapper`` on a GPU, and on a CPU
    :class:`~mmcnn.engine.bfloat16_optim_wrapper.BFloat16OptimWrapper`.

    Args:
        cfg: changed in place. A precision that it sets itself is kept unless ``amp`` names one.
        amp: 'fp16', 'bf16', 'off' (the same as False), or 'auto' (the same as True): on a GPU, bf16 if the card
            supports it and the config has no loss scale, which is for fp16; on a CPU, bf16 if the processor has
            instructions for it. None: as in the config (:func:`choose_precision`).
        say: called with a sentence about the features of a CPU.

    Raises:
        UsageError: ``amp`` is fp16 on a CPU, or bf16 on a GPU without it; or it is bf16 (on a CPU that supports it: or
            'auto') and the config has a loss scale (on a CPU: or sets float16).
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
                f'amp=bf16 and optim_wrapper.loss_scale={wrapper.loss_scale} cannot be combined: a loss scale is for '
                'fp16; leave it out'
            )
        if not has_bf16():
            raise UsageError(f'amp=bf16: {torch.cuda.get_device_name()} does not support bfloat16; use fp16')
    wrapper.type, wrapper.dtype = _ON_GPU, _NAMES[amp]
    if amp == 'fp16' and wrapper.get('loss_scale') in (None, NO_SCALER):
        wrapper.loss_scale = 'dynamic'


def _set_on_cpu(cfg: Config, amp: bool | str, say: Say) -> None:
    """Set bf16 on a CPU, or nothing if 'auto' finds no instructions for it."""
    if amp == 'fp16':
        raise UsageError('amp=fp16 needs a GPU: a CPU only supports bf16 as mixed precision; use bf16')
    features = cpu_features()
    if not features and amp != 'bf16':
        if cfg.optim_wrapper.get('type') in (_ON_GPU, _ON_CPU):
            _leave_off(cfg)
        say('note: amp is off: bf16 is slower on this processor, which has neither AVX512-BF16 nor AMX')
        return
    cfg.optim_wrapper.type = _ON_GPU  # as in the config of a GPU
    _use_cpu(cfg)
    if features:
        say(f'note: mixed precision in bf16, which this processor supports by {" and ".join(features)}')
    else:
        say('note: amp=bf16 makes the training slower on this processor, which has neither AVX512-BF16 nor AMX')


def _use_cpu(cfg: Config) -> None:
    """Give a config with mixed precision the wrapper of a CPU."""
    wrapper = cfg.optim_wrapper
    if wrapper.get('dtype') is not None and _DTYPES.get(str(wrapper.dtype)) == 'fp16':
        raise UsageError(
            f'optim_wrapper.dtype={wrapper.dtype} needs a GPU: a CPU only supports bfloat16 as mixed precision'
        )
    if wrapper.get('loss_scale') not in (None, 'dynamic', NO_SCALER):
        raise UsageError(
            f'optim_wrapper.loss_scale={wrapper.loss_scale} needs a GPU: a loss scale is for fp16, and a CPU only '
            'supports bf16 as mixed precision; leave it out'
        )
    wrapper.type = _ON_CPU
    _drop_arguments(wrapper)


def _leave_off(cfg: Config) -> None:
    """float32."""
    cfg.optim_wrapper.type = 'OptimWrapper'
    _drop_arguments(cfg.optim_wrapper)


def _drop_arguments(wrapper: dict) -> None:
    """Drop the arguments that only the wrapper of a GPU takes."""
    for name in ('dtype', 'loss_scale', 'use_fsdp'):
        wrapper.pop(name, None)


def has_bf16() -> bool:
    """Return whether the device supports bfloat16 natively; others emulate it, slower than float32."""
    if get_device() == 'cpu':
        return bool(cpu_features())
    return torch.cuda.is_bf16_supported(including_emulation=False)


def check_amp(cfg: Config, say: Say = print) -> None:
    """Refuse settings of mixed precision that are impossible here; complete the loss scale.

    The wrapper of a GPU is read as that of a CPU if there is no GPU, and vice versa.

    Args:
        cfg: with the user's options; changed in place.
        say: called with a sentence about each entry that is interpreted differently.

    Raises:
        UsageError: the config requests fp16 without a GPU; a type that is not for mixed precision; a loss scale without
            mixed precision; a loss scale that the scaler does not accept; or validation in mixed precision without
            mixed precision.
    """
    wrapper, on_cpu = cfg.optim_wrapper, get_device() == 'cpu'
    if wrapper.get('type') == _ON_CPU and not on_cpu:  # from a run on a CPU whose config is reused
        wrapper.type = _ON_GPU
        wrapper.setdefault('dtype', 'bfloat16')
    if wrapper.get('type') in (_ON_GPU, _ON_CPU) and str(wrapper.get('dtype')) not in _DTYPES:
        names = [name for name in _DTYPES if name in _NAMES.values()]
        raise UsageError(f'optim_wrapper.dtype={wrapper.dtype!r}: {nearest(str(wrapper.dtype), names)}')
    if wrapper.get('type') == _ON_GPU and on_cpu:
        if wrapper.get('dtype') is None:
            say(f'note: optim_wrapper.type={_ON_GPU} is read as mixed precision in bf16, because the device is a CPU')
        _use_cpu(cfg)
    elif wrapper.get('type') == _ON_CPU:
        _use_cpu(cfg)
    kind, scale = wrapper.get('type'), wrapper.get('loss_scale')
    if kind == 'OptimWrapper' and 'loss_scale' in wrapper:
        raise UsageError(
            f'optim_wrapper.loss_scale={scale}: a loss scale needs mixed precision: '
            'amp=True (or optim_wrapper.type=AmpOptimWrapper)'
        )
    if kind != _ON_GPU:
        return
    if precision_of(cfg) == 'bf16' and scale in (None, 'dynamic'):
        wrapper.loss_scale = dict(NO_SCALER)
    elif isinstance(scale, Mapping):
        _check_scaler(scale)
    elif isinstance(scale, int) and not isinstance(scale, bool):
        wrapper.loss_scale = float(scale)  # MMEngine does not accept an integer
    elif scale not in (None, 'dynamic') and not isinstance(scale, float):
        raise UsageError(
            f"optim_wrapper.loss_scale={scale!r}: it must be 'dynamic', a number (a fixed scale), or arguments of "
            'the scaler, such as optim_wrapper.loss_scale.init_scale=512'
        )


def _check_scaler(scale: Mapping[str, Any]) -> None:
    """Refuse arguments that :class:`torch.amp.GradScaler` does not accept."""
    known = {*inspect.signature(torch.amp.GradScaler).parameters} - {'device'}
    for name, value in scale.items():
        if name not in known:
            raise UsageError(f"optim_wrapper.loss_scale has no entry '{name}'; {nearest(name, known)}")
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
            raise UsageError(f'optim_wrapper.loss_scale.{name}={value!r}: it must be {words}')


def precision_of(cfg: Mapping[str, Any]) -> str:
    """Return the precision of a training with this config: fp32, fp16 or bf16."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == _ON_CPU:
        return 'bf16'
    if wrapper.get('type') != _ON_GPU:
        return 'fp32'
    return _DTYPES.get(str(wrapper.get('dtype')), str(wrapper.get('dtype')))


def choose_precision(cfg: Config, amp: bool | str | None, typed: bool, say: Say = print) -> None:
    """Use bf16 in a new run on a CPU if its config leaves that to the processor (``performance.cpu_amp``).

    Args:
        cfg: changed in place; a resumed run keeps its precision (:func:`continue_precision`), and other kinds of
            optimizer wrappers stay.
        amp: the user's option.
        typed: whether the user has set ``optim_wrapper.type``.
        say: called with a sentence.
    """
    leaves = amp is None and not typed and not cfg.get('resume') and _is_left_open(cfg, amp)
    if not leaves or get_device() != 'cpu' or cfg.optim_wrapper.get('type', 'OptimWrapper') != 'OptimWrapper':
        return
    if features := cpu_features():
        cfg.optim_wrapper.type = _ON_CPU
        say(
            f'note: mixed precision in bf16 (performance.cpu_amp), which this processor supports by '
            f'{" and ".join(features)}; to train in float32, use --amp off'
        )


def _is_left_open(cfg: Mapping[str, Any], amp: bool | str | None) -> bool:
    """Return whether neither an option nor another kind of wrapper determines the precision of a run."""
    if cfg['optim_wrapper'].get('type', 'OptimWrapper') not in ('OptimWrapper', _ON_GPU, _ON_CPU):
        return False
    return amp in (True, 'auto') or (amp is None and bool((cfg.get('performance') or {}).get('cpu_amp')))


def is_channels_last(cfg: Mapping[str, Any]) -> bool:
    """Return whether a training uses NHWC in memory: as the config says, or if it is faster on a CPU.

    oneDNN's kernels use bfloat16 in that order and would otherwise rearrange every map. In float32 it is also faster
    for networks whose configs are made for a CPU (``performance.cpu_amp``; docs/performance.md). It is not written to
    the config, which may be used on another device.
    """
    performance = cfg.get('performance') or {}
    if (said := performance.get('channels_last')) is not None:
        return bool(said)
    return get_device() == 'cpu' and (precision_of(cfg) == 'bf16' or bool(performance.get('cpu_amp')))


def continue_precision(
    cfg: Config, recorded: Mapping[str, Any], amp: bool | str | None, typed: bool, say: Say = print
) -> None:
    """Keep a resumed run's precision if none is requested, and report if it changes.

    It is not requested with 'auto', or if the config leaves it to the processor (``performance.cpu_amp``).

    Args:
        cfg: config of this session, changed in place.
        recorded: the config of the run in its checkpoint; empty if there is none.
        amp: the user's option.
        typed: whether the user has set ``optim_wrapper.type`` or ``optim_wrapper.dtype``.
        say: called with a sentence.
    """
    if not recorded.get('optim_wrapper'):
        return
    before, now = precision_of(recorded), precision_of(cfg)
    if before == now:
        return
    on_cpu = get_device() == 'cpu'
    # Every CPU can compute in bf16, fast or not.
    possible = not on_cpu if before == 'fp16' else before == 'bf16' and (on_cpu or has_bf16())
    if _is_left_open(cfg, amp) and not typed and possible:
        wrapper = cfg.optim_wrapper
        if on_cpu:
            wrapper.type = _ON_CPU
        else:
            wrapper.type, wrapper.dtype = _ON_GPU, _NAMES[before]
            scale = dict(NO_SCALER) if before == 'bf16' else 'dynamic'
            wrapper.loss_scale = recorded['optim_wrapper'].get('loss_scale') or scale
        say(f'note: the run began in {before}, which is kept')
        return
    again = '; --amp off keeps it'
    if before in _NAMES:
        again = '' if before == 'fp16' and on_cpu else f'; --amp {before} keeps it'
    say(f'note: the run began in {before} and continues in {now}, so its final weights will differ{again}')
