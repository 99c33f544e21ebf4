"""Rank and number of processes from the launcher's environment variables, before the process group exists."""

from __future__ import annotations

import os

#: The variables of each launcher with the rank of a process and the number of processes.
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
}


def rank(launcher: str) -> int:
    """Return the rank of this process among those that train together, from 0.

    Variables of another launcher do not count: the processes of a sweep that SLURM has started, for example, are
    separate runs with the launcher 'none'.
    """
    return _read(launcher, 0, default=0) if world_size(launcher) > 1 else 0


def world_size(launcher: str) -> int:
    """Return how many processes train together; 1 with the launcher 'none'."""
    return _read(launcher, 1, default=1)


def _read(launcher: str, which: int, default: int) -> int:
    return int(os.environ.get(VARIABLES[launcher][which], default)) if launcher in VARIABLES else default
