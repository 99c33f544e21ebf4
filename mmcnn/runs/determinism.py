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

#: Variable that makes cuBLAS compute in a fixed order; it is read when CUDA starts. PyTorch accepts these two values.
CUBLAS, CUBLAS_VALUES = 'CUBLAS_WORKSPACE_CONFIG', (':4096:8', ':16:8')
#: Entries of ``randomness``: the arguments of MMEngine's ``Runner.set_randomness``.
_RANDOMNESS = ('seed', 'deterministic', 'diff_rank_seed')
#: Part of PyTorch's error in the first step of an operator without a deterministic kernel.
REFUSED = 'does not have a deterministic implementation'
#: Operators of networks whose gradient has no deterministic kernel on CUDA
#: (:func:`torch.use_deterministic_algorithms`, PyTorch 2.13), and their names in Python.
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
#: Side of the image with which a network is examined, in pixels.
_SIDE = 128
#: Whether this process has set CUBLAS before CUDA started; later runs in the process may rely on that.
_set_in_time = False


def set_randomness(cfg: Config, seed: int | None) -> None:
    """Set the given seed, or the config's own, or 0; the config's other settings of ``randomness`` stay.

    Raises:
        UsageError: ``randomness`` has an entry or a value that MMEngine does not accept.
    """
    own = cfg.get('randomness') or {}
    if not isinstance(own, Mapping):
        raise UsageError(f'randomness={own!r}: it must be a dict')
    for name, value in own.items():
        if name not in _RANDOMNESS:
            raise UsageError(f"randomness has no entry '{name}'; {nearest(name, _RANDOMNESS)}")
        if name != 'seed' and not isinstance(value, bool):
            raise UsageError(f'randomness.{name}={value!r}: it must be True or False')
    seed = own.get('seed') if seed is None else seed
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED):
        raise UsageError(f'randomness.seed={seed!r}: it must be an integer from 0 to {MAX_SEED}')
    cfg.randomness = {**own, 'seed': seed or 0}


def continue_determinism(cfg: Config, recorded: Mapping[str, Any], typed: bool, say: Say = print) -> None:
    """Keep a resumed run deterministic unless the user decided otherwise.

    Args:
        cfg: config of this session, changed in place.
        recorded: the config of the run in its checkpoint; empty if there is none.
        typed: whether the user has set ``randomness.deterministic``.
        say: called with a sentence.
    """
    before = bool((recorded.get('randomness') or {}).get('deterministic'))
    now = bool(cfg.randomness.get('deterministic'))
    if before == now or not recorded:
        return
    if before and not typed:
        cfg.randomness.deterministic = True
        say('note: the run began with randomness.deterministic=True, which is kept')
    else:
        say(
            f'note: the run began {"with" if before else "without"} randomness.deterministic=True and continues '
            f'{"without" if before else "with"} it'
        )


def make_deterministic(cfg: Config, cuda_had_started: bool, say: Say = print) -> None:
    """Prepare the process for ``randomness.deterministic`` on a GPU; a CPU needs no preparation.

    MMEngine's Runner asks PyTorch for deterministic kernels; this sets up cuBLAS and refuses operators without one.

    Args:
        cfg: complete and wired.
        cuda_had_started: whether CUDA had started before the run, which is too late to set up cuBLAS.
        say: called with a sentence about parts that could not be examined.

    Raises:
        UsageError: it is too late to set up cuBLAS, or its variable has another value; a part of the model uses an
            operator without a deterministic gradient.
    """
    global _set_in_time
    if not cuda_had_started:
        _set_in_time = False  # the run that set it ended before CUDA started
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
                f'randomness.deterministic=True: CUDA has started in this process without {CUBLAS}, which cuBLAS only '
                f'reads then: start a new process, or set {CUBLAS}={CUBLAS_VALUES[0]} at its beginning'
            )
        os.environ[CUBLAS] = CUBLAS_VALUES[0]
        _set_in_time = True
    found = without_kernel(cfg)
    if found is None:
        say('note: the first step will show whether all operators of the model are deterministic')
    elif found:
        listed = '; '.join(f'{where}: {operator}' for where, operator in found.items())
        raise UsageError(
            f'randomness.deterministic=True: the gradient of an operator has no deterministic kernel on a GPU: '
            f'{listed}; use another part instead, or leave out deterministic'
        )


def without_kernel(cfg: Config) -> dict[str, str] | None:
    """Return the operators of a model whose gradient is not deterministic on CUDA, by the module that calls them.

    Backbone, neck and heads process an image on the meta device, which takes no time; losses are not examined.

    Args:
        cfg: complete and wired.

    Returns:
        names of modules and operators; None: none was found, but some of the model does not run on the meta device.
    """
    side = one_size(cfg.model) or _SIDE
    with contextlib.suppress(Exception), DefaultScope.overwrite_default_scope('mmdet'), _deterministic():
        # Its statistics over all processes need GPUs.
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
    """Run the heads of a detector on maps, and the heads after them on RoIs; return whether all accept them."""
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
    except Exception:  # a head that needs more arguments, like those of DETR
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
    """Turn PyTorch's switch on for a moment: some operators then use another, deterministic kernel."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
