"""``device``: the device on which MMEngine puts its models."""

from __future__ import annotations

import contextlib
import ctypes

from mmcnn.device import device_called


def use_device(name: str | int | None) -> None:
    """Make MMEngine use this device; None: its own choice, a GPU if there is one.

    Raises:
        UsageError: there is no such device.
    """
    import torch

    from mmcnn.compat import private_names

    if name is not None:
        device = device_called(name)
        if device.type == 'cuda':
            torch.cuda.set_device(device.index or 0)
        # MMEngine stores its choice in this constant and has no other way to run on the CPU of a GPU machine.
        private_names.set_device_of_mmengine(device.type)
    if private_names.device_of_mmengine() == 'cpu':
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed feature maps for the next iteration.

    By default it returns every large block to the kernel, which then fills new pages with zeros: a fifth of a training
    step on the CPU (docs/benchmarks.md). Other C libraries have no mallopt or refuse; then nothing changes.
    """
    trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, largest)
        mallopt(mmap_threshold, largest)
