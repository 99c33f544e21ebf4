"""Random numbers that depend on the position in the run, not on earlier draws."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_from(*position: int, devices: bool = True) -> None:
    """Seeds ``random``, NumPy's global generator and PyTorch's from whole numbers >= 0.

    The numbers are mixed (NumPy's ``SeedSequence``), so that neighbouring positions draw nothing alike.

    Args:
        *position: the numbers.
        devices: PyTorch's generators of all devices; else that of the CPU, five times as fast.
    """
    # With the length: zeros at the end would not count.
    words = np.random.SeedSequence((len(position), *position)).generate_state(8)
    random.seed(int.from_bytes(words[:4].tobytes(), 'little'))
    np.random.seed(words[4:6])
    seed = int.from_bytes(words[6:8].tobytes(), 'little')
    if devices:
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave the generators of ``random``, NumPy and PyTorch's CPU as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
