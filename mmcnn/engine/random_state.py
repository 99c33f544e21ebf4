"""Random numbers that depend on the position in the run, not on earlier draws."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_from(*position: int, devices: bool = True) -> None:
    """Seed the generators of ``random``, NumPy (global) and PyTorch with integers >= 0.

    The numbers are mixed (NumPy's ``SeedSequence``), so that neighbouring positions draw unrelated numbers.

    Args:
        *position: the integers.
        devices: seed PyTorch's generators of all devices; otherwise only that of the CPU, which is five times as fast.
    """
    # The length is included, because zeros at the end would not count.
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
    """Restore the generators of ``random``, NumPy and PyTorch's CPU afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
