"""The results of each epoch: mean losses and validation metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmcnn.runs.results import by_name


def counts_epochs(runner: Runner) -> bool:
    """Return whether a training counts epochs; MMEngine's ``IterBasedTrainLoop`` only counts iterations."""
    return not isinstance(runner.train_loop, IterBasedTrainLoop)


class HistoryHook(Hook):
    """Keeps a record of every epoch in the message hub, so that checkpoints include it.

    ``runner.message_hub.get_info('history')`` is a list with a dict for each epoch: ``epoch`` (from 1), the mean of
    each loss over its iterations (except for skipped ones), and the metrics of its validation, if there was one, named
    as in :class:`~mmcnn.runs.results.TrainResult`. A training that counts iterations has an entry for each validation
    instead, with ``iteration`` and the means since the previous one. A resumed run continues the record of its
    checkpoint, also inside an epoch.

    Attributes:
        losses: losses of the last iteration; empty if it was skipped. Other hooks should read them from here, because
            reading a number from a GPU waits for all its work.
    """

    priority = 'NORMAL'  # before the checkpoint hook

    def before_train(self, runner) -> None:
        """Continue the record of a resumed checkpoint, if there is one."""
        hub = runner.message_hub
        self.losses: dict[str, float] = {}
        self._unit = 'epoch' if counts_epochs(runner) else 'iteration'
        history = hub.get_info('history', [])
        self._history = [entry for entry in history if 0 < entry.get(self._unit, 0) <= self._position(runner)]
        inside = hub.get_info('position_in_epoch', (0,))[0] if self._unit == 'epoch' else runner.iter
        count, sums = hub.get_info('losses_of_epoch', (0, {})) if inside else (0, {})
        self._count, self._sums = count, dict(sums)
        hub.update_info('history', self._history)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | Sequence | None = None
    ) -> None:
        """Add the losses of an iteration that was not skipped."""
        self.losses = _numbers(outputs or {})
        if outputs is None:
            return
        self._count += 1
        for name, value in self.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        runner.message_hub.update_info('losses_of_epoch', (self._count, self._sums))

    def after_train_epoch(self, runner) -> None:
        """Add the epoch, or the iterations after the last validation."""
        if self._unit == 'epoch':
            self._add(runner, runner.epoch + 1)
        elif self._count:
            self._add(runner, runner.iter)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Add a validation to its epoch, or to the iterations before it."""
        if self._unit == 'iteration':
            self._add(runner, runner.iter)
        elif not self._history or self._history[-1]['epoch'] != runner.epoch:
            self._history.append(dict(epoch=runner.epoch))  # the checkpoint is older than this record
        self._history[-1].update(by_name(metrics or {})[0])

    def _position(self, runner: Runner) -> int:
        return runner.epoch if self._unit == 'epoch' else runner.iter

    def _add(self, runner: Runner, position: int) -> None:
        means = {name: total / self._count for name, total in self._sums.items()}
        self._history.append({self._unit: position, **means})
        self._count, self._sums = 0, {}
        runner.message_hub.update_info('losses_of_epoch', (0, {}))


def _numbers(outputs: dict) -> dict[str, float]:
    """Return the losses in the results of a step, with one transfer from the device."""
    names = [name for name in outputs if name.startswith('loss')]
    device = next((outputs[name].device for name in names if isinstance(outputs[name], torch.Tensor)), None)
    values = [torch.as_tensor(outputs[name], device=device).detach().reshape(()) for name in names]
    return dict(zip(names, torch.stack(values).tolist(), strict=True)) if names else {}
