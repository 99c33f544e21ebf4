"""``env_cfg``: a config's settings for the process, checked before MMEngine's Runner applies them."""

from __future__ import annotations

import inspect
import multiprocessing

from mmengine.config import Config
from mmengine.utils.dl_utils import set_multi_processing

from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.nearest import nearest

#: Entries that the Runner reads.
_KNOWN = {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}


def check_process(cfg: Config, say: Say = print) -> None:
    """Refuse an ``env_cfg`` that the Runner could not apply.

    Args:
        cfg: with the user's options; its ``env_cfg`` is a dict or missing.
        say: called with a sentence about each entry without effect.

    Raises:
        UsageError: names the entry, its value and what would be right.
    """
    env = cfg.get('env_cfg') or {}
    for name in env:
        if name not in _KNOWN:
            say(f'note: env_cfg.{name} has no effect; {nearest(name, _KNOWN)}')
    for name in ('mp_cfg', 'dist_cfg'):
        if not isinstance(env.get(name, {}), dict):
            raise UsageError(f'env_cfg.{name}={env[name]!r}: it must be a dict')
    _check_integer('env_cfg.resource_limit', env.get('resource_limit', 1))
    processes = env.get('mp_cfg', {})
    known = {*inspect.signature(set_multi_processing).parameters} - {'distributed'}  # the Runner sets it
    for name in processes:
        if name not in known:
            raise UsageError(f"env_cfg.mp_cfg has no entry '{name}'; {nearest(name, known)}")
    method, methods = processes.get('mp_start_method', 'fork'), multiprocessing.get_all_start_methods()
    if method not in methods and method != 'fork':  # only Windows cannot fork, and the Runner reads nothing of it there
        raise UsageError(f'env_cfg.mp_cfg.mp_start_method={method!r}: {nearest(str(method), methods)}')
    _check_integer('env_cfg.mp_cfg.opencv_num_threads', processes.get('opencv_num_threads', 0))


def _check_integer(where: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f'{where}={value!r}: it must be an integer')
