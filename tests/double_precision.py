"""Trainings in float64, whose end can be compared between processors: a plugin of tests/conftest.py.

In float32 the same steps of so small a network end up to 0.05 (of the weights' norm) apart when PyTorch picks other
kernels: another processor, another number of threads. In float64 they end 2e-11 apart.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

#: What such a process begins with.
PRELUDE = """
import torch
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double  # the data preprocessors call it
"""


@pytest.fixture(scope='session')
def in_double():
    """Gives ``in_double.prelude``, the code that such a process begins with, and ``in_double.distance(end, expected)``.

    The distance between the weights of a checkpoint and those of a safetensors file is relative to the norm of the
    latter.
    """

    def distance(end: Path, expected: Path) -> float:
        found, wanted = torch.load(end, weights_only=True)['state_dict'], load_file(expected)
        assert found.keys() == wanted.keys()
        squares = [
            ((found[key] - value).double().square().sum(), value.double().square().sum())
            for key, value in wanted.items()
        ]
        difference, size = map(sum, zip(*squares, strict=True))
        return (difference / size).sqrt().item()

    return SimpleNamespace(prelude=PRELUDE, distance=distance)
