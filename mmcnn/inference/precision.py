"""``amp`` without a training: mixed precision by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

from mmcnn.compat.onednn import cpu_features
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Types of mixed precision by name.
_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def dtype_called(
    amp: bool | str | None, device: torch.device, say: Callable[[str], object] = print
) -> torch.dtype | None:
    """Return the type of mixed precision on a device; None: float32.

    Args:
        amp: 'fp16', 'bf16', 'off' (the same as False and None), or 'auto' (the same as True): bf16 if the device has
            instructions for it, otherwise fp16 on a GPU and float32 on a CPU.
        device: a GPU or the CPU.
        say: called with a sentence if a CPU has no such instructions.

    Raises:
        UsageError: the name is unknown, or the device does not support the type.
    """
    if amp in (None, False, 'off'):
        return None
    if amp not in (True, 'auto', *_DTYPES):
        raise UsageError(f'amp={amp!r}: {nearest(str(amp), ("auto", *_DTYPES, "off"))}')
    if device.type != 'cuda':
        return _on_cpu(amp, say)
    with torch.cuda.device(device) if device.index is not None else contextlib.nullcontext():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if amp == 'bf16' and not supported:
        raise UsageError(f'amp=bf16: {torch.cuda.get_device_name(device)} does not support bfloat16; use fp16')
    if amp in (True, 'auto'):
        amp = 'bf16' if supported else 'fp16'
    return _DTYPES[amp]


def name_of(dtype: torch.dtype | None) -> str:
    """Return the name of a type of mixed precision; MMEngine's default, None, is fp16."""
    return 'bf16' if dtype is torch.bfloat16 else 'fp16'


def _on_cpu(amp: bool | str, say: Callable[[str], object]) -> torch.dtype | None:
    if amp == 'fp16':
        raise UsageError('amp=fp16 needs a GPU: a CPU only supports bf16 as mixed precision; use bf16')
    if cpu_features():
        return torch.bfloat16
    if amp == 'bf16':
        say('note: amp=bf16 is slower than float32 on this processor, which has neither AVX512-BF16 nor AMX')
        return torch.bfloat16
    say('note: amp is off: bf16 is slower on this processor, which has neither AVX512-BF16 nor AMX')
    return None
