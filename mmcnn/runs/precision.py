"""``amp``: mixed precision, which of the two, and what comes with it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: What a config calls a precision; MMEngine's default, None, is fp16.
_DTYPES = {'float16': 'fp16', 'torch.float16': 'fp16', 'bfloat16': 'bf16', 'torch.bfloat16': 'bf16', 'None': 'fp16'}
_NAMES = {'fp16': 'float16', 'bf16': 'bfloat16'}
#: bf16 has the range of float32, so that gradients need no scale, and no step is ever skipped to find one.
NO_SCALER = dict(enabled=False)


def set_amp(cfg: Config, amp: bool | str) -> None:
    """Mixed precision, by MMEngine's AmpOptimWrapper: fp16 with a dynamic loss scale, bf16 without any.

    Args:
        cfg: changed in place. A precision that it names itself is kept unless ``amp`` names one.
        amp: 'fp16', 'bf16', or 'auto' (the same as True): bf16 where the card computes in it and the config has no loss
            scale of its own, which is for fp16.

    Raises:
        UsageError: there is no GPU (MMEngine has mixed precision on GPUs only), or it has no bf16; or the config has a
            loss scale and ``amp`` is bf16.
    """
    if amp is False:
        return
    if get_device() == 'cpu':
        raise UsageError(f'amp={amp} needs a GPU: mixed precision is not faster on a CPU, leave it out')
    wrapper = cfg.optim_wrapper
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
    wrapper.type, wrapper.dtype = 'AmpOptimWrapper', _NAMES[amp]
    if amp == 'fp16' and wrapper.get('loss_scale') in (None, NO_SCALER):
        wrapper.loss_scale = 'dynamic'


def has_bf16() -> bool:
    """Whether the GPU computes in bfloat16 itself; older ones only pretend to, and are slower by it than by float32."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def check_amp(cfg: Config) -> None:
    """Refuses what a config or ``cfg_options`` ask for of mixed precision and cannot have; completes the loss scale.

    Raises:
        UsageError: there is no GPU; a type of numbers that is not of mixed precision; a loss scale without mixed
            precision, which has no use for one; one that the scaler does not take; or there is something to validate in
            the precision of nothing.
    """
    wrapper = cfg.optim_wrapper
    kind, scale = wrapper.get('type'), wrapper.get('loss_scale')
    if kind == 'AmpOptimWrapper' and get_device() == 'cpu':
        raise UsageError(
            'optim_wrapper.type=AmpOptimWrapper needs a GPU: mixed precision is not faster on a CPU, use OptimWrapper'
        )
    if kind == 'OptimWrapper' and 'loss_scale' in wrapper:
        raise UsageError(
            f'optim_wrapper.loss_scale={scale}: a loss scale is for mixed precision, which is '
            'amp=True (or optim_wrapper.type=AmpOptimWrapper)'
        )
    if kind != 'AmpOptimWrapper':
        return
    if str(wrapper.get('dtype')) not in _DTYPES:
        names = [name for name in _DTYPES if name in _NAMES.values()]
        raise UsageError(f'optim_wrapper.dtype={wrapper.dtype!r}: {nearest(str(wrapper.dtype), names)}')
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
    """Refuses what :class:`torch.amp.GradScaler` does not take."""
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
    """What a training by this config computes in: fp32, fp16 or bf16."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') != 'AmpOptimWrapper':
        return 'fp32'
    return _DTYPES.get(str(wrapper.get('dtype')), str(wrapper.get('dtype')))


def continue_precision(
    cfg: Config, recorded: Mapping[str, Any], amp: bool | str, typed: bool, say: Say = print
) -> None:
    """A run that is resumed goes on in its precision where that is left open, and says so where it does not.

    Args:
        cfg: of this session, changed in place.
        recorded: the config of the run, as its checkpoint has it; empty: it has none.
        amp: what was typed.
        typed: whether ``optim_wrapper.dtype`` was.
        say: takes a sentence.
    """
    if not recorded.get('optim_wrapper'):
        return
    before, now = precision_of(recorded), precision_of(cfg)
    if before == now:
        return
    if amp in (True, 'auto') and not typed and before in _NAMES and (before == 'fp16' or has_bf16()):
        cfg.optim_wrapper.dtype = _NAMES[before]
        cfg.optim_wrapper.loss_scale = recorded['optim_wrapper'].get('loss_scale') or 'dynamic'
        say(f'note: the run began in {before}, and goes on in it')
        return
    again = f'; --amp {before} keeps it' if before in _NAMES else '; without --amp it goes on as it began'
    say(f'note: the run began in {before} and goes on in {now}, so it does not end in the weights it would have{again}')
