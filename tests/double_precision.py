"""Trainings in float64, whose final weights can be compared between processors: a plugin of tests/conftest.py.

In float32, the same steps of such a small network end up to 0.05 apart (relative to the weights' norm) when PyTorch
picks other kernels, for another processor or number of threads. In float64, they end 2e-11 apart.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

#: The start of the code of such a process.
PRELUDE = """
import torch
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double  # the data preprocessors call it
"""


@pytest.fixture(scope='session')
def in_double():
    """``in_double.prelude`` starts the code of such a process; ``in_double.distance(end, expected)`` compares weights.

    The distance is between the weights of a checkpoint and those of a safetensors file, relative to the latter's norm.
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
