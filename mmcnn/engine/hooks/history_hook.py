"""What each epoch came to: mean losses and the numbers of its validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook

from mmcnn.runs.results import by_name


class HistoryHook(Hook):
    """Keeps a record of every epoch in the message hub, where checkpoints take it along.

    ``runner.message_hub.get_info('history')`` is a list with a dict for each epoch: ``epoch`` (from 1), the mean of
    each loss over its iterations (those that were skipped aside), and the metrics of its validation, if there was one,
    named as in :class:`~mmcnn.runs.results.TrainResult`. A run that is resumed goes on with the record of its
    checkpoint, inside an epoch too.
    """

    priority = 'NORMAL'  # before the checkpoint hook

    def before_train(self, runner) -> None:
        """Takes up the record of the checkpoint that is resumed, if it is one."""
        hub = runner.message_hub
        history = hub.get_info('history', [])
        self._history = [entry for entry in history if 0 < entry['epoch'] <= runner.epoch]
        inside = hub.get_info('position_in_epoch', (0,))[0]
        count, sums = hub.get_info('losses_of_epoch', (0, {})) if inside else (0, {})
        self._count, self._sums = count, dict(sums)
        hub.update_info('history', self._history)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | Sequence | None = None
    ) -> None:
        """Adds the losses of an iteration that was not skipped."""
        if outputs is None:
            return
        self._count += 1
        for name, value in outputs.items():
            if name.startswith('loss'):
                self._sums[name] = self._sums.get(name, 0.0) + torch.as_tensor(value).item()
        runner.message_hub.update_info('losses_of_epoch', (self._count, self._sums))

    def after_train_epoch(self, runner) -> None:
        """Adds the epoch."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._history.append(dict(epoch=runner.epoch + 1, **means))
        self._count, self._sums = 0, {}
        runner.message_hub.update_info('losses_of_epoch', (0, {}))

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Adds a validation to its epoch."""
        if not self._history or self._history[-1]['epoch'] != runner.epoch:  # the checkpoint is older than this record
            self._history.append(dict(epoch=runner.epoch))
        self._history[-1].update(by_name(metrics or {})[0])
