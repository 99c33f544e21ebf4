"""Devices by name."""

from __future__ import annotations

import torch

from mmcnn.errors import UsageError


def device_called(name: str | int | torch.device) -> torch.device:
    """Return the device of this name.

    Args:
        name: 'cpu', 'cuda' or 'cuda:N', or the device itself; also 'gpu', 'gpu:N', or the number of a GPU.

    Raises:
        UsageError: the name is invalid, or this machine has no such device.
    """
    try:
        device = torch.device(_of_torch(str(name)) if isinstance(name, str | int) else name)
    except (RuntimeError, TypeError):
        device = None
    if isinstance(name, bool) or device is None or device.type not in ('cpu', 'cuda'):
        several = ''
        if isinstance(name, str) and ',' in name:
            several = '; a process uses one GPU, and torchrun starts a process for each GPU'
        raise UsageError(f'device={name}: invalid device; use cpu, cuda or cuda:N{several}')
    if device.type == 'cuda' and (device.index or 0) >= (count := torch.cuda.device_count()):
        meant = '' if str(name) == str(device) else f', which is {device}'
        raise UsageError(f'device={name}{meant}: PyTorch sees {count} CUDA devices on this machine')
    return device


def _of_torch(name: str) -> str:
    """Return PyTorch's name of a device: its name for 'gpu' is 'cuda', and a number is the index of a GPU."""
    name = name.strip().lower()
    return f'cuda:{name}' if name.isdecimal() else name.replace('gpu', 'cuda', 1) if name.startswith('gpu') else name
