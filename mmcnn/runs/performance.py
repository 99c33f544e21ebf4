"""``performance``: settings that affect a run's speed; read here and applied by the hook."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from mmcnn.config.load import dicts_in
from mmcnn.config.variables import Say
from mmcnn.errors import UsageError
from mmcnn.launchers import world_size
from mmcnn.nearest import nearest
from mmcnn.runs.head import unwrapped
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.precision import is_channels_last, precision_of

#: ``performance`` of configs/_base_/default_runtime.py, which explains the entries; a config without it (of an earlier
#: release, or of MMDetection) gets these values.
DEFAULTS: dict[str, Any] = dict(
    channels_last=None, compile=False, cpu_amp=False, cudnn_benchmark=None, tf32=None, val_amp=False
)
_MAY_BE_NONE = ('channels_last', 'cudnn_benchmark', 'tf32')
#: Transforms that give all images of a training the same size.
_ONE_SIZE = {'MosaicAffine', 'DarknetMosaic', 'RandomResizedCrop'}


def check_performance(cfg: Config, say: Say = print) -> None:
    """Complete ``performance``, and refuse invalid values; MMEngine's ``compile`` is read as ``performance.compile``.

    Args:
        cfg: with the user's options; changed in place.
        say: called with a sentence about each entry that is interpreted differently.

    Raises:
        UsageError: names the entry, its value and what would be right.
    """
    own = cfg.get('performance') or {}
    if not isinstance(own, Mapping):
        raise UsageError(f'performance={own!r}: it must be a dict')
    for name, value in own.items():
        if name not in DEFAULTS:
            raise UsageError(f"performance has no entry '{name}'; {nearest(name, DEFAULTS)}")
        if name == 'compile' and isinstance(value, Mapping):
            known = {*inspect.signature(torch.compile).parameters} - {'model'}
            for argument in value:
                if argument not in known:
                    raise UsageError(
                        f"performance.compile: torch.compile has no argument '{argument}'; {nearest(argument, known)}"
                    )
        elif not isinstance(value, bool) and not (value is None and name in _MAY_BE_NONE):
            kinds = 'True or False' + (', or None' if name in _MAY_BE_NONE else '')
            kinds += " or a dict of torch.compile's arguments" if name == 'compile' else ''
            raise UsageError(f'performance.{name}={value!r}: it must be {kinds}')
    cfg.performance = {**DEFAULTS, **own}
    if (compiled := cfg.pop('compile', None)) not in (None, False):
        say(
            f'note: compile={compiled!r} is read as performance.compile: backbone and neck are compiled, not the whole '
            'step, because the training loop needs access to its parts'
        )
        cfg.performance.compile = compiled
        check_performance(cfg, say)


def set_performance(cfg: Config, options: TrainOptions) -> None:
    """Apply the performance options to the config.

    Args:
        cfg: checked; changed in place.
        options: options of a training.
    """
    for name, value in (
        ('channels_last', options.channels_last),
        ('compile', options.compile),
        ('val_amp', options.amp_val),
    ):
        if value:
            cfg.performance[name] = cfg.performance[name] or value
    if options.sync_bn:
        cfg.sync_bn = 'torch'


def settle_performance(cfg: Config, options: TrainOptions, say: Say = print) -> None:
    """Refuse entries that contradict the rest of a training's config.

    Args:
        cfg: the complete config.
        options: options of the training.
        say: called with a sentence about each entry without effect.

    Raises:
        UsageError: two entries contradict each other, or SyncBN is requested on a CPU.
    """
    performance, env = cfg.performance, cfg.get('env_cfg') or {}
    own = env.get('cudnn_benchmark')
    if None not in (own, performance.cudnn_benchmark) and bool(own) != performance.cudnn_benchmark:
        raise UsageError(
            f'env_cfg.cudnn_benchmark={own} and performance.cudnn_benchmark={performance.cudnn_benchmark} contradict '
            'each other: leave out the first one, or set it to None'
        )
    if (own or performance.cudnn_benchmark) and cfg.randomness.get('deterministic'):
        raise UsageError(
            'performance.cudnn_benchmark=True and randomness.deterministic=True cannot be combined: the fastest '
            'algorithms differ from run to run'
        )
    if performance.val_amp and precision_of(cfg) == 'fp32':
        if options.amp in (True, 'auto'):
            performance.val_amp = False  # on a processor without bf16, which was already reported
        else:
            raise UsageError('amp_val=True (performance.val_amp) needs amp, whose precision it uses')
    if cfg.get('sync_bn') is not None:
        if get_device() != 'cuda':
            raise UsageError(
                f"sync_bn={cfg.sync_bn}: PyTorch's SyncBatchNorm only runs on GPUs; without it, the statistics of all "
                'processes are averaged before each validation'
            )
        if world_size(options.launcher) == 1:
            say(f'note: sync_bn={cfg.sync_bn} has no effect in one process')


def say_other_sync_bn(cfg: Config, recorded: Mapping[str, Any], say: Say = print) -> None:
    """Report a resumed run that continues with another kind of BatchNorm.

    Args:
        cfg: config of this session.
        recorded: the config of the run in its checkpoint; empty if there is none.
        say: called with a sentence.
    """
    before, now = recorded.get('sync_bn'), cfg.get('sync_bn')
    if recorded and before != now:
        say(
            f'note: the run began with sync_bn={before} and continues with sync_bn={now}, so its final weights will '
            'differ '
            'from those of an uninterrupted run' + ('; --sync-bn keeps it' if before else '')
        )


def tries_algorithms(cfg: Config) -> bool:
    """Return whether cuDNN benchmarks its algorithms in a training: if the config says so, or if image sizes are fixed.

    This is not written to the config, because a later evaluation would follow it.
    """
    said = (cfg.get('env_cfg') or {}).get('cudnn_benchmark')
    if said is None:
        said = (cfg.get('performance') or DEFAULTS).get('cudnn_benchmark')
    if said is not None:
        return bool(said)
    deterministic = (cfg.get('randomness') or {}).get('deterministic')
    return get_device() == 'cuda' and not deterministic and has_one_size(cfg)


def has_one_size(cfg: Config) -> bool:
    """Return whether all training images have the same size at the network's input."""
    resizes = any(str(node.get('type')).endswith('BatchSyncRandomResize') for node in dicts_in(cfg.get('model')))
    kinds = {str(node.get('type')).removeprefix('mmcnn.') for node in dicts_in(cfg.get('train_dataloader'))}
    return not resizes and bool(kinds & _ONE_SIZE)


def use_tf32(cfg: Config) -> None:
    """Set PyTorch's switches, which :mod:`mmcnn.runs.process_state` restores."""
    tf32 = (cfg.get('performance') or DEFAULTS).get('tf32')
    if tf32 is not None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


class PerformanceHook(Hook):
    """Applies ``performance`` to a training.

    Checkpoints do not depend on it: names of weights and their layout in memory stay the same.
    """

    # After the hook that stores averaged weights in a checkpoint.
    priority = 'BELOW_NORMAL'

    def before_train(self, runner) -> None:
        """Convert weights, averages and momenta to NHWC, compile backbone and neck, and set cuDNN's switch."""
        compiled = {**DEFAULTS, **(runner.cfg.get('performance') or {})}['compile']
        if tries_algorithms(runner.cfg):
            torch.backends.cudnn.benchmark = True  # restored by mmcnn.runs.process_state
        self._benchmark = torch.backends.cudnn.benchmark
        model = unwrapped(runner.model)
        self._channels_last = is_channels_last(runner.cfg)
        if self._channels_last:
            _to_channels_last(runner, model)
        if compiled is not False:
            arguments = {} if compiled is True else dict(compiled)
            for part in ('backbone', 'neck'):
                if isinstance(getattr(model, part, None), nn.Module):
                    getattr(model, part).compile(**arguments)  # in place, so that names of weights stay the same

    def before_val_epoch(self, runner) -> None:
        """Turn off cuDNN's benchmark for the many image sizes of a validation."""
        torch.backends.cudnn.benchmark = False

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Restore the setting from before the validation."""
        torch.backends.cudnn.benchmark = self._benchmark

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store weights in the layout without ``channels_last``, which other programs may rely on."""
        if self._channels_last:
            for part in ('state_dict', 'ema_state_dict'):
                for name, value in checkpoint.get(part, {}).items():
                    checkpoint[part][name] = value.contiguous()


def _to_channels_last(runner: Runner, model: nn.Module) -> None:
    averages = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    for each in (model, *averages):
        each.to(memory_format=torch.channels_last)
    for average in averages:
        # It stores the tensors of its averages by name, and those have been replaced.
        now = average.module.state_dict()
        average.avg_parameters = {name: now[name] for name in average.avg_parameters}
    for state in runner.optim_wrapper.optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.dim() == 4:
                state[name] = value.to(memory_format=torch.channels_last)
