"""``randomness``: the seed, and bit-identical training on a GPU."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from mmcnn.compat.private_names import TorchDispatchMode
from mmcnn.config.model import build_on_meta, is_classifier
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.models.wiring.slots import one_size
from mmcnn.nearest import nearest
from mmcnn.runs.options import MAX_SEED

#: By which cuBLAS is told to compute in one order; it reads this when CUDA starts. PyTorch knows these two values.
CUBLAS, CUBLAS_VALUES = 'CUBLAS_WORKSPACE_CONFIG', (':4096:8', ':16:8')
#: What ``randomness`` takes: the arguments of MMEngine's ``Runner.set_randomness``.
_RANDOMNESS = ('seed', 'deterministic', 'diff_rank_seed')
#: What PyTorch says at the first step of an operator that has no deterministic kernel.
REFUSED = 'does not have a deterministic implementation'
#: Operators of networks whose gradient has no deterministic kernel on CUDA
#: (:func:`torch.use_deterministic_algorithms`, PyTorch 2.13), and how they are called in Python.
NO_KERNEL = {
    '_adaptive_avg_pool2d': 'adaptive_avg_pool2d',
    '_adaptive_avg_pool3d': 'adaptive_avg_pool3d',
    'adaptive_max_pool2d': 'adaptive_max_pool2d',
    'adaptive_max_pool3d': 'adaptive_max_pool3d',
    'avg_pool3d': 'avg_pool3d',
    'fractional_max_pool2d': 'fractional_max_pool2d',
    'fractional_max_pool3d': 'fractional_max_pool3d',
    'max_unpool2d': 'max_unpool2d',
    'max_unpool3d': 'max_unpool3d',
    'upsample_linear1d': 'interpolate(mode="linear")',
    'upsample_bicubic2d': 'interpolate(mode="bicubic")',
    'reflection_pad1d': 'pad(mode="reflect")',
    'reflection_pad2d': 'pad(mode="reflect")',
    'reflection_pad3d': 'pad(mode="reflect")',
    'grid_sampler_2d': 'grid_sample',
    'grid_sampler_3d': 'grid_sample',
    'cumsum': 'cumsum',
}
#: Side of the image that a network is looked through with, pixels.
_SIDE = 128
#: Whether this process has set CUBLAS before CUDA started; a later run of it may rely on that.
_set_in_time = False


def set_randomness(cfg: Config, seed: int | None) -> None:
    """Set the seed that was given, or the config's own, or 0; the config's other settings of ``randomness`` stay.

    Raises:
        UsageError: ``randomness`` has an entry or a value that MMEngine does not take.
    """
    own = cfg.get('randomness') or {}
    if not isinstance(own, Mapping):
        raise UsageError(f'randomness={own!r}: it has to be a dict')
    for name, value in own.items():
        if name not in _RANDOMNESS:
            raise UsageError(f"randomness takes no '{name}'; {nearest(name, _RANDOMNESS)}")
        if name != 'seed' and not isinstance(value, bool):
            raise UsageError(f'randomness.{name}={value!r}: it has to be True or False')
    seed = own.get('seed') if seed is None else seed
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED):
        raise UsageError(f'randomness.seed={seed!r}: it has to be an integer from 0 to {MAX_SEED}')
    cfg.randomness = {**own, 'seed': seed or 0}


def continue_determinism(cfg: Config, recorded: Mapping[str, Any], typed: bool, say: Say = print) -> None:
    """Keep a resumed run deterministic unless the user decided otherwise.

    Args:
        cfg: of this session, changed in place.
        recorded: the config of the run, as its checkpoint has it; empty: it has none.
        typed: whether ``randomness.deterministic`` was.
        say: takes a sentence.
    """
    before = bool((recorded.get('randomness') or {}).get('deterministic'))
    now = bool(cfg.randomness.get('deterministic'))
    if before == now or not recorded:
        return
    if before and not typed:
        cfg.randomness.deterministic = True
        say('note: the run began with randomness.deterministic=True, and goes on so')
    else:
        say(
            f'note: the run began {"with" if before else "without"} randomness.deterministic=True and goes on '
            f'{"without" if before else "with"} it'
        )


def make_deterministic(cfg: Config, cuda_had_started: bool, say: Say = print) -> None:
    """Readies the process for ``randomness.deterministic`` on a GPU; nothing is to be done on a CPU.

    MMEngine's Runner asks PyTorch for deterministic kernels; here cuBLAS is told, and what has none is refused.

    Args:
        cfg: complete and wired.
        cuda_had_started: in this process before the run did anything, when it is too late to tell cuBLAS.
        say: takes a sentence on what could not be looked into.

    Raises:
        UsageError: cuBLAS cannot be told any more, or its variable has another value; a part of the model computes
            with an operator that has no deterministic gradient.
    """
    global _set_in_time
    if not cuda_had_started:
        _set_in_time = False  # a run that was to start it has not got so far
    if not cfg.randomness.get('deterministic') or get_device() != 'cuda':
        return
    value = os.environ.get(CUBLAS)
    if value is not None and value not in CUBLAS_VALUES:
        raise UsageError(
            f'{CUBLAS}={value} in the environment: randomness.deterministic=True needs {" or ".join(CUBLAS_VALUES)}'
        )
    if value is None:
        if cuda_had_started and not _set_in_time:
            raise UsageError(
                f'randomness.deterministic=True: CUDA has started in this process without {CUBLAS}, which cuBLAS reads '
                f'only then: start a new process, or set {CUBLAS}={CUBLAS_VALUES[0]} at its beginning'
            )
        os.environ[CUBLAS] = CUBLAS_VALUES[0]
        _set_in_time = True
    found = without_kernel(cfg)
    if found is None:
        say('note: whether all operators of the model are deterministic is found at the first step')
    elif found:
        listed = '; '.join(f'{where}: {operator}' for where, operator in found.items())
        raise UsageError(
            f'randomness.deterministic=True: the gradient of an operator has no deterministic kernel on a GPU: '
            f'{listed}; use another part in its place, or leave deterministic out'
        )


def without_kernel(cfg: Config) -> dict[str, str] | None:
    """Return the operators of a model whose gradient is not deterministic on CUDA, by the module that calls them.

    Backbone, neck and heads go over an image once on the meta device, in no time; losses do not.

    Args:
        cfg: complete and wired.

    Returns:
        names of modules and operators; None: none is found, but not all of the model runs on the meta device.
    """
    side = one_size(cfg.model) or _SIDE
    with contextlib.suppress(Exception), DefaultScope.overwrite_default_scope('mmdet'), _deterministic():
        # Its statistics over all processes are for GPUs only.
        model = revert_sync_batchnorm(build_on_meta(cfg)).train()
        image = torch.zeros(2, 3, side, side, device='meta')
        with _Watch(model) as watch:
            whole = True
            if is_classifier(cfg):
                model(image, mode='tensor')
            else:
                whole = _heads_run(model, model.extract_feat(image))
        return watch.found if watch.found or whole else None
    return None


def _heads_run(model: nn.Module, maps: Any) -> bool:
    """Send maps through the heads of a detector, and RoIs through those behind them; whether all take just that."""
    try:
        for name in ('bbox_head', 'mask_head', 'rpn_head'):
            if isinstance(head := getattr(model, name, None), nn.Module):
                head(maps)
        for kind in ('bbox', 'mask') if isinstance(getattr(model, 'roi_head', None), nn.Module) else ():
            heads, extractors = (
                _each(getattr(model.roi_head, f'{kind}_{part}', None)) for part in ('head', 'roi_extractor')
            )
            for head, extractor in zip(heads, extractors, strict=False):
                size = extractor.roi_layers[0].output_size
                pooled = torch.zeros(2, extractor.out_channels, *size, device='meta', requires_grad=True)
                head(model.roi_head.shared_head(pooled) if model.roi_head.with_shared_head else pooled)
    except Exception:  # a head that wants to know more, as those of DETR do
        return False
    return True


def _each(part: nn.Module | None) -> Sequence[nn.Module]:
    return part if isinstance(part, nn.ModuleList) else [part] if part is not None else []


class _Watch(TorchDispatchMode):
    """Records which operators of :data:`NO_KERNEL` are called while gradients are computed, and by which module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._entered: list[str] = []
        for name, module in model.named_modules():
            module.register_forward_pre_hook(lambda *_, name=name: self._entered.append(name))
            module.register_forward_hook(lambda *_: self._leave())

    def _leave(self) -> None:
        self._entered.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__
        if name in NO_KERNEL and any(isinstance(each, torch.Tensor) and each.requires_grad for each in args):
            self.found[self._entered[-1] if self._entered else 'model'] = NO_KERNEL[name]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """PyTorch's switch for a moment: some operators then take a deterministic way of their own."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
