"""Mixed precision during a training."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from mmcnn.engine import BFloat16OptimWrapper
from mmcnn.models.mixed_precision import AFTER_FORWARD, in_float32, predict_boxes_in_float32
from mmcnn.runs.head import unwrapped

_NORM = 'train/grad_norm'


def dtype_of_validation(runner: Runner) -> torch.dtype | None:
    """Return the type of mixed precision in a training's validations; None: float32."""
    if not (runner.cfg.get('performance') or {}).get('val_amp'):
        return None
    wrapper = runner.optim_wrapper
    is_mixed = isinstance(wrapper, AmpOptimWrapper | BFloat16OptimWrapper)
    return (wrapper.cast_dtype or torch.float16) if is_mixed else None


class PrecisionHook(Hook):
    """Excludes steps skipped by a loss scaler from the logged numbers, and validates in mixed precision if requested.

    fp16 finds its loss scale by steps whose gradients overflow: they are skipped, and the scale is halved. This is
    normal, but the norm of these gradients is not finite, and MMEngine would log the mean over 50 steps as ``nan``.
    This hook only counts steps that were made, and explains the first skipped one in the log.
    """

    # Before the norm is logged.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._has_explained = False

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Let a run in fp16 continue from one in bf16, which has no loss scale: it starts with a new one."""
        optimizer = checkpoint.get('optimizer')
        if isinstance(optimizer, dict) and optimizer.get('loss_scaler') == {}:
            del optimizer['loss_scaler']

    def before_train(self, runner) -> None:
        """Prepare losses and validation."""
        wrapper, model = runner.optim_wrapper, unwrapped(runner.model)
        if isinstance(wrapper, BFloat16OptimWrapper):
            # On a GPU, autocast computes losses, exponentials and the like in float32 by itself.
            for module in model.modules():
                if any(hasattr(module, name) for name in AFTER_FORWARD):
                    module.register_forward_hook(in_float32)
        elif not isinstance(wrapper, AmpOptimWrapper):
            return
        if (dtype := dtype_of_validation(runner)) is None:
            return
        predict_boxes_in_float32(model)
        device = next(model.parameters()).device.type
        # Inside the loop's own context, which is for fp16 only and turns other types off.
        model.val_step = functools.wraps(model.val_step)(torch.autocast(device, dtype)(model.val_step))

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Drop the norm of a skipped step."""
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        norms = runner.message_hub.log_scalars.get(_NORM)
        if scaler is None or norms is None or math.isfinite(norms.current()):
            return
        values, counts = norms.data
        if len(values) == 1:
            del runner.message_hub.log_scalars[_NORM]
        else:
            runner.message_hub.log_scalars[_NORM] = HistoryBuffer(values[:-1], counts[:-1])
        if not self._has_explained:
            self._has_explained = True
            runner.logger.info(
                'a gradient has overflowed in fp16: the step is skipped, and the loss scale is now '
                f'{scaler.get_scale():g}; this is how the scale is found, at the start and occasionally later'
            )
