"""The processes of a distributed run find each other."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_distributed


def join_ranks(cfg: Config) -> None:
    """Makes the process group of a run with a launcher, unless it is there; MMEngine's Runner then uses it.

    On a CPU, torchrun's ranks get gloo, where MMEngine would ask for a GPU.

    Args:
        cfg: complete; on a CPU its ``model_wrapper_cfg`` is set.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    if launcher == 'pytorch' and get_device() == 'cpu':
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    elif not is_distributed():
        init_dist(launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
