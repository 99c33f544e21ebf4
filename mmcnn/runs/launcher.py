"""``launcher``: the environment variables of a run's processes, checked before they are used."""

from __future__ import annotations

import contextlib
import os

from mmengine.config import Config
from mmengine.registry import METRICS, DefaultScope

from mmcnn.config.parts import metrics_of, takes
from mmcnn.errors import UsageError
from mmcnn.launchers import VARIABLES, world_size

#: The variable of each launcher with the number of a process on its machine.
_LOCAL = {'pytorch': 'LOCAL_RANK', 'slurm': 'SLURM_LOCALID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}


def check_launcher(launcher: str) -> None:
    """Refuse invalid variables, and processes that do not know of each other.

    Such processes would each train alone, in the same folder.

    Args:
        launcher: one of those in :class:`~mmcnn.runs.options.RunOptions`.

    Raises:
        UsageError: names the variable and its value.
    """
    if launcher == 'none':
        _number('LOCAL_RANK')  # decides which process draws the demo data
        if 'RANK' in os.environ and (_number('WORLD_SIZE') or 1) > 1:
            raise UsageError(f'{world_size("pytorch")} processes were started together: use launcher=pytorch')
        return
    rank, size = VARIABLES[launcher]
    for name in (rank, size):
        if name not in os.environ:
            raise UsageError(f'launcher={launcher}: this launcher sets {name}, which is not set')
    count = _number(size)
    if count < 1:
        raise UsageError(f'{size}={count} in the environment: the number of processes must be at least 1')
    for name in (rank, _LOCAL[launcher]):
        if (number := _number(name)) is not None and number >= count:
            raise UsageError(
                f'{name}={number} and {size}={count} in the environment: ranks begin at 0, so {name} must be below '
                f'{size}'
            )


def collect_in_memory(cfg: Config) -> None:
    """Make the ranks of a run exchange evaluation results through their process group.

    MMEngine's default is a folder inside the current one, which nodes without a shared disk do not share. Metrics
    that set their own way (``collect_device``, ``collect_dir``), or take no such argument, are not changed.

    Args:
        cfg: config of a run with a launcher; changed in place.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        for evaluator in ('val_evaluator', 'test_evaluator'):
            for _, node in metrics_of(cfg, evaluator):
                if not isinstance(node, dict) or node.get('collect_device') or node.get('collect_dir'):
                    continue
                kind = node.get('type')
                with contextlib.suppress(KeyError):  # raised by one of our registries; check_types reports it
                    kind = METRICS.get(kind) if isinstance(kind, str) else kind
                    if 'collect_device' in (takes(kind) or ()):
                        node['collect_device'] = 'gpu'  # through NCCL or gloo, depending on the group


def _number(name: str) -> int | None:
    """Return the value of a variable; None: it is not set.

    Raises:
        UsageError: it is not an integer of at least 0.
    """
    if (text := os.environ.get(name)) is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f'{name}={text} in the environment: it must be an integer of at least 0')
    return number
