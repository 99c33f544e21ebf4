"""``device``: the device on which MMEngine puts its models."""

from __future__ import annotations

import contextlib
import ctypes

from mmcnn.device import device_called


def use_device(name: str | int | None) -> None:
    """Make MMEngine put its models on this device; None: its own choice, a GPU where there is one.

    Raises:
        UsageError: there is no such device.
    """
    import torch

    from mmcnn.compat import private_names

    if name is not None:
        device = device_called(name)
        if device.type == 'cuda':
            torch.cuda.set_device(device.index or 0)
        # MMEngine keeps its choice in this constant and offers no other way to run on the CPU of a GPU machine.
        private_names.set_device_of_mmengine(device.type)
    if private_names.device_of_mmengine() == 'cpu':
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed feature maps for the next iteration.

    By default it hands every large block back to the kernel, which fills it with zeros anew, page by page: a fifth of
    a training step on the CPU (docs/benchmarks.md). Another C library has no mallopt or refuses; then nothing changes.
    """
    trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, largest)
        mallopt(mmap_threshold, largest)
