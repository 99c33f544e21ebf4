"""Mixed precision while a training goes on."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.optim import AmpOptimWrapper

from mmcnn.runs.head import unwrapped

_NORM = 'train/grad_norm'


class PrecisionHook(Hook):
    """Keeps the steps that a loss scale skips out of the numbers, and validates in mixed precision if asked to.

    fp16 finds its loss scale by steps whose gradients overflow: they are skipped, and the scale is halved. That is how
    it works and no fault, but the norm of these gradients is not finite, and MMEngine would log the mean over 50 steps
    as ``nan``. Here only steps that were made count; the first one that is skipped is explained in the log.
    """

    # Before the norm is logged.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._has_explained = False

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Lets a run in fp16 go on from one in bf16, which has no loss scale: it begins with a new one."""
        optimizer = checkpoint.get('optimizer')
        if isinstance(optimizer, dict) and optimizer.get('loss_scaler') == {}:
            del optimizer['loss_scaler']

    def before_train(self, runner) -> None:
        """Readies the validation."""
        wrapper = runner.optim_wrapper
        if not (isinstance(wrapper, AmpOptimWrapper) and (runner.cfg.get('performance') or {}).get('val_amp')):
            return
        model, dtype = unwrapped(runner.model), wrapper.cast_dtype or torch.float16
        device = next(model.parameters()).device.type
        # Inside of the loop's own switch, which is for fp16 alone and turns others off.
        model.val_step = functools.wraps(model.val_step)(torch.autocast(device, dtype)(model.val_step))

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Drops the norm of a step that was skipped."""
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
                'a gradient has overflowed in fp16: the step is skipped and the loss scale is now '
                f'{scaler.get_scale():g}; it is found in this way, at the beginning and now and then later'
            )
