"""Devices by name."""

from __future__ import annotations

import torch

from mmcnn.errors import UsageError


def device_called(name: str | torch.device) -> torch.device:
    """The device of this name.

    Args:
        name: 'cpu', 'cuda' or 'cuda:N', or the device itself.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        device = torch.device(name) if isinstance(name, str | torch.device) else None
    except RuntimeError:
        device = None
    if device is None or device.type not in ('cpu', 'cuda'):
        raise UsageError(f'device={name}: this is no device; say cpu, cuda or cuda:N')
    if device.type == 'cuda' and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise UsageError(f'device={name}: PyTorch sees {count} CUDA devices here')
    return device
