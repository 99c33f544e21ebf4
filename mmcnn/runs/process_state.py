"""Restores the process after a run, so that the next run or notebook cell starts from a clean state."""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import torch
import torch.distributed
from mmengine.logging import MMLogger
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer

from mmcnn.compat import private_names
from mmcnn.engine.random_state import kept_random_state
from mmcnn.errors import UsageError

#: Held by the thread of a run; parts of the run may acquire it again.
_RUN = threading.RLock()


@contextlib.contextmanager
def kept_process_state() -> Iterator[None]:
    """Restore everything that a run changes in the process, whether it succeeds or fails.

    This includes MMEngine's device and its global loggers, message hubs, visualizers and default scopes (a run starts
    without any; its own are closed), the random generators, CUDA's device, switches of cuDNN and PyTorch for
    determinism and TF32, OpenCV's threads, the start method of processes, the environment, ``sys.path`` and the
    process group.

    Raises:
        UsageError: another thread has a run; the two would share log, random numbers and devices.
    """
    if not _RUN.acquire(blocking=False):
        raise UsageError(
            'another thread of this process already has a run, and a process can only have one at a time: wait until '
            'it has ended, or start this run in a separate process'
        )
    try:
        with kept_random_state(), _kept_cuda(), _kept_interpreter(), _own_group(), _own_managers(), _kept_switches():
            yield
    finally:
        _RUN.release()


@contextlib.contextmanager
def _kept_switches() -> Iterator[None]:
    device, threads = private_names.device_of_mmengine(), cv2.getNumThreads()
    start_method = multiprocessing.get_start_method(allow_none=True)
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    tf32 = _tf32()
    deterministic = _determinism()
    try:
        yield
    finally:
        private_names.set_device_of_mmengine(device)
        cv2.setNumThreads(threads)
        multiprocessing.set_start_method(start_method, force=True)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        if _tf32() != tf32:  # setting a switch ends the inheritance between the newer ones
            for (_, put_back), value in zip(_tf32_switches(), tf32, strict=True):
                if value is not None:
                    put_back(value)
        if _determinism() != deterministic:  # setting it imports PyTorch's compiler, which takes a second
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _tf32() -> list[Any]:
    """Return the values of :func:`_tf32_switches`; None: PyTorch refuses to return one that newer ones contradict."""
    values = []
    for get, _ in _tf32_switches():
        try:
            values.append(get())
        except RuntimeError:
            values.append(None)
    return values


def _tf32_switches() -> list[tuple[Callable[[], Any], Callable[[Any], object]]]:
    """Return how each of PyTorch's TF32 switches is read and set, the older ones first: they set the newer ones."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    named = [(cudnn, 'allow_tf32')]
    if hasattr(matmul, 'fp32_precision'):  # since PyTorch 2.9
        named += [(each, 'fp32_precision') for each in (matmul, cudnn.conv, cudnn.rnn)]
    return [
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        *((functools.partial(getattr, *each), functools.partial(setattr, *each)) for each in named),
    ]


@contextlib.contextmanager
def _kept_cuda() -> Iterator[None]:
    """Restore the current device and all generators; for a CUDA that the run initialises, its initial state."""
    had_started, seed = torch.cuda.is_initialized(), torch.initial_seed()
    device = torch.cuda.current_device() if had_started else 0
    states = torch.cuda.get_rng_state_all() if had_started else []
    try:
        yield
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.set_device(device)
            torch.cuda.manual_seed_all(seed)
            torch.cuda.set_rng_state_all(states)


@contextlib.contextmanager
def _kept_interpreter() -> Iterator[None]:
    """Restore variables and paths, which PyTorch's compiler, MMEngine's launchers and config files change."""
    environment, path = dict(os.environ), [*sys.path]
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        sys.path[:] = path


@contextlib.contextmanager
def _own_group() -> Iterator[None]:
    """Leave the process group that a run on CPUs has joined; an earlier one stays.

    Its threads end here. Otherwise the run's model, in MMEngine's reference cycles of runner and loops, would keep the
    group alive, and its threads would be ended with the interpreter, after the modules that they use.

    MMEngine's group of GPUs also stays, for the next run: joined a second time, it would find the first one's
    addresses.
    """
    joined_before = torch.distributed.is_initialized()
    try:
        yield
    finally:
        joined = torch.distributed.is_initialized() and not joined_before
        if joined and torch.distributed.get_backend() == 'gloo':
            gc.collect()
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _own_managers() -> Iterator[None]:
    """Separate MMEngine's global objects, which it stores by a run's name.

    The name is made of the config and the second of the start, so two runs of one process may have the same.
    """
    before = {cls: private_names.taken_instances(cls) for cls in _subclasses(ManagerMixin)}
    try:
        yield
    finally:
        for cls in _subclasses(ManagerMixin):
            for instance in private_names.taken_instances(cls).values():
                _close(instance)
            private_names.put_instances(cls, before.get(cls, {}))


def _close(instance: ManagerMixin) -> None:
    if isinstance(instance, MMLogger):
        for handler in [*instance.handlers]:
            instance.removeHandler(handler)
            handler.close()
    elif isinstance(instance, Visualizer):
        instance.close()


def _subclasses(cls: type) -> list[type]:
    return [each for below in cls.__subclasses__() for each in (below, *_subclasses(below))]
