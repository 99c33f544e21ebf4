"""Validation with folded networks during a training."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping

from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmcnn.models.fuse import fuse
from mmcnn.models.mixed_precision import networks_of, store_weights
from mmcnn.runs.head import unwrapped
from mmcnn.runs.precision_hook import dtype_of_validation


class FoldingHook(Hook):
    """Validates with folded networks (:func:`mmcnn.fuse`), as :func:`mmcnn.runs.execution.test` does.

    Copies of the networks are made at the start of each validation. They take the networks' places only while a batch
    is predicted, so that checkpoints and other hooks never see them. Compiled networks and models that are split
    between processes stay as they are.
    """

    # After the hook that swaps in averaged weights.
    priority = 'LOW'

    def __init__(self) -> None:
        self._folds = False
        self._folded: dict[str, nn.Module] = {}

    def before_train(self, runner) -> None:
        """Wrap the model's ``val_step``."""
        self._folds = _can_fold(runner)
        if not self._folds:
            return
        model = unwrapped(runner.model)
        val_step = model.val_step

        @functools.wraps(val_step)
        def with_folded_networks(data: dict | tuple | list) -> list:
            with self._in_place(model):
                return val_step(data)

        model.val_step = with_folded_networks

    def before_val_epoch(self, runner) -> None:
        """Fold the networks with their present weights."""
        if not self._folds:
            return
        self._folded = folded_networks(unwrapped(runner.model))
        if (dtype := dtype_of_validation(runner)) is not None:
            for network in self._folded.values():
                store_weights(network, dtype)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Release the copies."""
        self._folded = {}

    @contextlib.contextmanager
    def _in_place(self, model: nn.Module) -> Iterator[None]:
        networks = {name: getattr(model, name) for name in self._folded}
        try:
            _set(model, self._folded)
            yield
        finally:
            _set(model, networks)


def folded_networks(model: nn.Module) -> dict[str, nn.Module]:
    """Return folded copies of a detector's or classifier's networks by the names of these parts."""
    return {name: fuse(part) for name, part in networks_of(model).items()}


def _can_fold(runner: Runner) -> bool:
    is_whole = not is_model_wrapper(runner.model) or type(runner.model) is MMDistributedDataParallel
    compiled = (runner.cfg.get('performance') or {}).get('compile', False)
    return is_whole and compiled is False


def _set(model: nn.Module, parts: Mapping[str, nn.Module]) -> None:
    for name, part in parts.items():
        setattr(model, name, part)
