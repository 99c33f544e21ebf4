"""A run leaves the process as it found it, so that the next one, or a notebook's next cell, starts clean."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator

import cv2
import mmengine.device.utils as device_utils
import torch
from mmengine.logging import MMLogger
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer

from mmcnn.random_state import kept_random_state


@contextlib.contextmanager
def kept_process_state() -> Iterator[None]:
    """Puts back what a run changes in the process, whether it succeeds or fails.

    That is MMEngine's device and its global loggers, message hubs, visualizers and default scopes (a run starts without
    any; its own are closed), the random generators, cuDNN's and PyTorch's switches for determinism, OpenCV's threads
    and the start method of processes.
    """
    device, threads = device_utils.DEVICE, cv2.getNumThreads()
    start_method = multiprocessing.get_start_method(allow_none=True)
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with kept_random_state(), _own_managers():
        try:
            yield
        finally:
            device_utils.DEVICE = device
            cv2.setNumThreads(threads)
            multiprocessing.set_start_method(start_method, force=True)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])


@contextlib.contextmanager
def _own_managers() -> Iterator[None]:
    """MMEngine keeps objects by the name of a run, made of its config and the second of its start.

    Two runs of one process may share both. ``_instance_dict`` is MMEngine 0.10's; it has no public way to drop one.
    """
    before = {cls: dict(cls._instance_dict) for cls in _subclasses(ManagerMixin)}
    for cls in before:
        cls._instance_dict.clear()
    try:
        yield
    finally:
        for cls in _subclasses(ManagerMixin):
            for instance in cls._instance_dict.values():
                _close(instance)
            cls._instance_dict.clear()
            cls._instance_dict.update(before.get(cls, {}))


def _close(instance: ManagerMixin) -> None:
    if isinstance(instance, MMLogger):
        for handler in [*instance.handlers]:
            instance.removeHandler(handler)
            handler.close()
    elif isinstance(instance, Visualizer):
        instance.close()


def _subclasses(cls: type) -> list[type]:
    return [each for below in cls.__subclasses__() for each in (below, *_subclasses(below))]
