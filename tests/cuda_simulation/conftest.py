import pytest

from tests.cuda_simulation.guard_slot import NoSlotError, find_registry
from tests.cuda_simulation.simulation import CudaSimulation


@pytest.fixture(scope='session')
def simulate():
    """``with simulate() as gpu:`` a CUDA device; skips on a PyTorch that it cannot be simulated with.

    On the version that is pinned test_guard_slot.py fails then.
    """
    try:
        find_registry()
    except NoSlotError as error:
        pytest.skip(str(error))
    return CudaSimulation
