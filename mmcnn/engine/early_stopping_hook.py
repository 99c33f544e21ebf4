"""Early stopping when validations no longer improve, also in a run that was killed and resumed."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.hooks import EarlyStoppingHook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop

from mmcnn.errors import TrainingError
from mmcnn.registry import HOOKS

#: Key of the state in the message hub, and thereby in every checkpoint.
STATE = 'early_stopping'


@HOOKS.register_module()
class ResumableEarlyStoppingHook(EarlyStoppingHook):
    """Ends the training after ``patience`` validations in a row without a new best.

    MMEngine's hook loses its count when a run is resumed, and takes an equal number for a better one. This hook keeps
    its count in the message hub, so that a resumed run ends at the same point as an uninterrupted one. NaN is never
    better.

    Args:
        monitor (str): Name of the metric, ``coco/bbox_mAP`` for example.
        patience (int): Number of validations.
        rule (str, optional): 'greater' or 'less': which of two numbers is better. None: by the name, as in MMEngine.
        min_delta (float): Minimum difference to a better number.

    Attributes:
        story: the reason for the early end, as a phrase; None: the training has not ended early.

    Raises:
        ValueError: From the constructor, if the rule does not follow from the name.
        TrainingError: A validation has no metric with this name.
    """

    # Before the checkpoint of a better validation is written, so that it contains the count.
    priority = 'LOW'

    def __init__(self, monitor: str, patience: int = 5, rule: str | None = None, min_delta: float = 0.0) -> None:
        super().__init__(monitor=monitor, rule=rule, min_delta=min_delta, patience=patience)
        self.story: str | None = None
        self._said = False

    def before_train(self, runner) -> None:
        """Continue the count of the resumed checkpoint; it may suffice for a smaller patience."""
        self._stop_if_due(runner)

    def after_val_epoch(self, runner, metrics: dict[str, Any] | None = None) -> None:
        """Count a validation, and ask the loop to end if there are too many without improvement."""
        if self.monitor not in (metrics or {}):
            raise TrainingError(f'early stopping: the validation has no {self.monitor}')
        value = float(metrics[self.monitor])
        state = dict(runner.message_hub.get_info(STATE, {}))
        best = state.get('best')
        nothing = value != value or (value == -1 and self.monitor.startswith('coco/'))
        if nothing and best is None:  # without objects, no validation is worse than another
            if not self._said:
                text = f'{self.monitor} has nothing to measure: patience={self.patience} has no effect'
                print_log(text, logger='current', level=logging.WARNING)
            self._said = True
            return
        if not nothing and (best is None or self.rule_map[self.rule](value, best + self.min_delta)):
            state = dict(best=value, at=self._position(runner), waited=0)
        else:
            state = state | dict(waited=state.get('waited', 0) + 1)
        runner.message_hub.update_info(STATE, state)
        self._stop_if_due(runner)

    def _stop_if_due(self, runner) -> None:
        state = runner.message_hub.get_info(STATE, {})
        if 'best' not in state or state['waited'] < self.patience:
            return
        runner.train_loop.stop_training = True
        validations = 'a validation' if state['waited'] == 1 else f'{state["waited"]} validations'
        best = f'the best was {state["best"]:.4g} after {state["at"]}'
        self.story = f'{self.monitor} has not improved for {validations}; {best}'
        print_log(f'training ends early: {self.story}', logger='current')

    @staticmethod
    def _position(runner) -> str:
        by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        return f'iteration {runner.iter}' if by_iteration else f'epoch {runner.epoch}'
