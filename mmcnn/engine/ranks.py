"""Setup of the process group of a distributed run."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_gather_object, get_world_size, init_dist, is_distributed

from mmcnn.errors import UsageError

#: Number of runs in this process.
_joined = itertools.count()


def join_ranks(cfg: Config) -> None:
    """Make the process group of a run with a launcher, unless it exists; MMEngine's Runner then uses it.

    On a CPU, torchrun's ranks use gloo, where MMEngine would require a GPU.

    Args:
        cfg: the complete config; on a CPU its ``model_wrapper_cfg`` is set.

    Raises:
        UsageError: the port for the connections between ranks is in use.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    if launcher == 'pytorch' and get_device() == 'cpu':
        if not torch.distributed.is_initialized():
            # A launcher has one store for all runs of its processes: without separate keys, the second run would find
            # the addresses of the first.
            with _port_in_use():
                store, rank, size = next(torch.distributed.rendezvous('env://'))
            store = torch.distributed.PrefixStore(f'run-{next(_joined)}', store)
            torch.distributed.init_process_group('gloo', store=store, rank=rank, world_size=size)
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    elif not is_distributed():
        with _port_in_use():
            init_dist(launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))


def check_alike(cfg: Config) -> None:
    """Refuse ranks that would train differently, for example because a node lacks the checkpoint to resume from.

    Args:
        cfg: the complete config; the ranks have joined.

    Raises:
        UsageError: on all ranks; names the difference.
    """
    if get_world_size() == 1:
        return
    own = dict(
        resume=bool(cfg.get('resume')),
        load_from=cfg.get('load_from') and os.path.basename(cfg.load_from),
        seed=(cfg.get('randomness') or {}).get('seed'),
        epochs=cfg.train_cfg.get('max_epochs'),
    )
    first, *others = all_gather_object(own)
    for rank, other in enumerate(others, start=1):
        if name := next((name for name in first if first[name] != other[name]), None):
            raise UsageError(
                f'{name}={first[name]} on rank 0, but {name}={other[name]} on rank {rank}: all ranks must be started '
                'in the same way, and must see the same work dir, or copies of its checkpoints, to resume a run'
            )


@contextlib.contextmanager
def _port_in_use() -> Iterator[None]:
    """Raise an error of one sentence if the port for the connections between ranks is in use."""
    try:
        yield
    except RuntimeError as error:  # a DistNetworkError, except in PyTorch 2.6
        if 'EADDRINUSE' not in str(error):
            raise
        port = os.environ.get('MASTER_PORT')
        raise UsageError(
            f'port {port}, which connects the ranks, is already in use on this machine, most often by another '
            'training: choose another one (MASTER_PORT=N, torchrun --master-port N)'
        ) from error
