"""Variables of launchers that cannot be right are one sentence, before anything is read by them."""

import pytest

import mmcnn
from mmcnn.errors import UsageError
from mmcnn.launchers import VARIABLES
from mmcnn.runs.launcher import check_launcher


@pytest.fixture
def variables(monkeypatch):
    """Sets variables where no launcher has set any: ``variables(RANK=1)``."""
    for name in (*(name for names in VARIABLES.values() for name in names), 'LOCAL_RANK', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


@pytest.mark.parametrize(
    ('launcher', 'values', 'message'),
    [
        ('pytorch', dict(RANK='first', WORLD_SIZE=2), 'RANK=first in the environment: it has to be an integer'),
        ('pytorch', dict(RANK=0, WORLD_SIZE='two'), 'WORLD_SIZE=two in the environment: it has to be an integer'),
        ('pytorch', dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=''), 'LOCAL_RANK= in the environment: it has to be an int'),
        ('pytorch', dict(RANK=-1, WORLD_SIZE=2), 'RANK=-1 in the environment: it has to be an integer of at least 0'),
        ('pytorch', dict(RANK=0, WORLD_SIZE=0), 'WORLD_SIZE=0 in the environment: the number of processes is at lea'),
        ('pytorch', dict(RANK=2, WORLD_SIZE=2), 'RANK=2 and WORLD_SIZE=2 in the environment: ranks begin at 0, so R'),
        ('pytorch', dict(RANK=0, WORLD_SIZE=2, LOCAL_RANK=2), 'LOCAL_RANK=2 and WORLD_SIZE=2 in the environment: ra'),
        ('none', dict(RANK=0, WORLD_SIZE='two'), 'WORLD_SIZE=two in the environment'),
        ('none', dict(LOCAL_RANK='x'), 'LOCAL_RANK=x in the environment'),
        ('pytorch', dict(RANK=0), 'launcher=pytorch: that launcher sets WORLD_SIZE, which is not set here'),
        ('slurm', dict(SLURM_PROCID='x', SLURM_NTASKS=2), 'SLURM_PROCID=x in the environment'),
        ('mpi', dict(OMPI_COMM_WORLD_RANK=3, OMPI_COMM_WORLD_SIZE=3), 'OMPI_COMM_WORLD_RANK=3 and OMPI_COMM_WORLD_SI'),
    ],
)
def test_variables_that_cannot_be_right(variables, launcher, values, message):
    variables(**values)
    with pytest.raises(UsageError, match=f'^{message}'):
        check_launcher(launcher)
    with pytest.raises(UsageError, match=f'^{message}'):  # the console has asked for the rank by then
        mmcnn.train('yolov5_n', data='demo', launcher=launcher)
    with pytest.raises(UsageError, match=f'^{message}'):
        mmcnn.evaluate('best.pth', launcher=launcher)


@pytest.mark.parametrize(
    ('launcher', 'values'),
    [
        ('none', {}),
        ('none', dict(RANK=0, WORLD_SIZE=1)),
        ('none', dict(RANK='of a game', WORLD_SIZE=1)),
        ('none', dict(SLURM_PROCID=3, SLURM_NTASKS=2)),  # of a sweep; no business of a run without a launcher
        ('pytorch', dict(RANK=1, WORLD_SIZE=2, LOCAL_RANK=1)),
        ('slurm', dict(SLURM_PROCID=1, SLURM_NTASKS=2, RANK='x')),
    ],
)
def test_variables_that_can_be_right(variables, launcher, values):
    variables(**values)
    check_launcher(launcher)
