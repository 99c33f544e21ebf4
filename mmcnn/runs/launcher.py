"""``launcher``: what the environment says of the processes of a run, looked at before anything relies on it."""

from __future__ import annotations

import os

from mmcnn.errors import UsageError
from mmcnn.launchers import VARIABLES, world_size

#: Of each launcher the variable with the number of a process on its machine.
_LOCAL = {'pytorch': 'LOCAL_RANK', 'slurm': 'SLURM_LOCALID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}


def check_launcher(launcher: str) -> None:
    """Refuses variables that cannot be right, and processes that do not know of each other.

    Those would train alone each, in one folder with the others.

    Args:
        launcher: one of those in :class:`~mmcnn.runs.options.RunOptions`.

    Raises:
        UsageError: names the variable and its value.
    """
    if launcher == 'none':
        _number('LOCAL_RANK')  # by which the demo data is drawn once
        if 'RANK' in os.environ and (_number('WORLD_SIZE') or 1) > 1:
            raise UsageError(f'{world_size("pytorch")} processes were started together: say launcher=pytorch')
        return
    rank, size = VARIABLES[launcher]
    for name in (rank, size):
        if name not in os.environ:
            raise UsageError(f'launcher={launcher}: that launcher sets {name}, which is not set here')
    count = _number(size)
    if count < 1:
        raise UsageError(f'{size}={count} in the environment: the number of processes is at least 1')
    for name in (rank, _LOCAL[launcher]):
        if (number := _number(name)) is not None and number >= count:
            raise UsageError(
                f'{name}={number} and {size}={count} in the environment: ranks begin at 0, so {name} has to be below '
                f'{size}'
            )


def _number(name: str) -> int | None:
    """What a variable holds; None: it is not set.

    Raises:
        UsageError: no integer of at least 0.
    """
    if (text := os.environ.get(name)) is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f'{name}={text} in the environment: it has to be an integer of at least 0')
    return number
