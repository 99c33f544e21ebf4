import pytest

from mmcnn.launchers import VARIABLES, rank, world_size


@pytest.fixture
def variables(monkeypatch):
    """Set environment variables, and remove those of other launchers: ``variables(RANK=1)``."""
    for name in (name for names in VARIABLES.values() for name in names):
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


def test_nothing_is_set(variables):
    assert [(rank(each), world_size(each)) for each in ('none', 'pytorch', 'slurm', 'mpi')] == [(0, 1)] * 4


def test_a_launcher_reads_its_own_variables(variables):
    variables(RANK=1, WORLD_SIZE=2, SLURM_PROCID=3, SLURM_NTASKS=4, OMPI_COMM_WORLD_RANK=5, OMPI_COMM_WORLD_SIZE=6)
    found = {each: (rank(each), world_size(each)) for each in ('none', 'pytorch', 'slurm', 'mpi')}
    assert found == {'none': (0, 1), 'pytorch': (1, 2), 'slurm': (3, 4), 'mpi': (5, 6)}


def test_a_rank_alone_is_the_first(variables):
    variables(RANK=3, SLURM_PROCID=3, SLURM_NTASKS=1)
    assert [rank('pytorch'), rank('slurm')] == [0, 0]
