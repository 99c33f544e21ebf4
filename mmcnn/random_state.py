"""Random numbers that follow from a position in the run, not from what was drawn before."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_from(*position: int) -> None:
    """Seeds ``random``, NumPy's global generator and PyTorch's (all devices) from whole numbers >= 0.

    The numbers are mixed (NumPy's ``SeedSequence``), so that neighbouring positions draw nothing alike.
    """
    words = np.random.SeedSequence(position).generate_state(8)
    random.seed(int.from_bytes(words[:4].tobytes(), 'little'))
    np.random.seed(words[4:6])
    torch.manual_seed(int.from_bytes(words[6:8].tobytes(), 'little'))


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Leaves the generators of ``random``, NumPy and PyTorch's CPU as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
