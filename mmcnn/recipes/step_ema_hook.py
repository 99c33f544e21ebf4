"""Exponential moving average of the weights, counted in optimizer steps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.layers import ExpMomentumEMA
from mmengine.hooks import EMAHook
from torch import Tensor, nn

from mmcnn.compat import private_names
from mmcnn.registry import HOOKS, MODELS


@MODELS.register_module()
class StepEMA(ExpMomentumEMA):
    """MMDetection's ``ExpMomentumEMA`` with the same values, in two kernels instead of two for each tensor.

    Arguments and state are those of ``ExpMomentumEMA``. Its kernels are used with ``update_buffers=False``, and if a
    tensor has several names, as in heads that share convolutions, since one kernel would race on it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tensors = self.module.state_dict(keep_vars=True).values()
        self._shares_tensors = len({id(tensor) for tensor in tensors}) < len(tensors)
        self._averaged = [name for name, value in self.avg_parameters.items() if value.is_floating_point()]
        # For these, where they are in the model that was averaged last; in a tuple, since a module that is an attribute
        # would become a part of this one.
        self._places: tuple[nn.Module | None, list[tuple[Mapping[str, Tensor | None], str]]] = (None, [])

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the weights of ``model``; copy them the first time."""
        if self.steps == 0 or self.steps % self.interval or not self.update_buffers or self._shares_tensors:
            super().update_parameters(model)
            return
        averages = [self.avg_parameters[name] for name in self._averaged]
        values = [
            value if value.device == average.device else value.to(average.device)
            for value, average in zip(self._values(model), averages, strict=True)
        ]
        weight = (1 - self.momentum) * math.exp(-float(1 + self.steps) / self.gamma) + self.momentum
        private_names.average_in_place(averages, values, weight)
        self.steps += 1

    def _values(self, model: nn.Module) -> list[Tensor]:
        """Return what is averaged in a model, without its state dict, which takes as long to make as the averaging."""
        if model is not self._places[0]:
            self._places = model, _places(model, self._averaged)
        if places := self._places[1]:
            return [tensors[name] for tensors, name in places]
        state = model.state_dict()
        return [state[name] for name in self._averaged]


def _places(model: nn.Module, names: Sequence[str]) -> list[tuple[Mapping[str, Tensor | None], str]]:
    """Return the modules' own tensors among which the entries of a state dict are, and their names there.

    Empty if one has another name there.
    """
    state, modules = model.state_dict(keep_vars=True), dict(model.named_modules())
    places = []
    for name in names:
        path, _, last = name.rpartition('.')
        owners = private_names.tensors_of(modules[path]) if path in modules else ()
        tensors = next((each for each in owners if each.get(last) is state[name]), None)
        if tensors is None:
            return []
        places.append((tensors, last))
    return places


@HOOKS.register_module()
class StepEMAHook(EMAHook):
    r"""MMEngine's ``EMAHook`` with YOLOv5's ramp, updating only when the optimizer has stepped.

    After optimizer step k = 1, 2, ... every floating-point parameter and buffer of the average becomes
    :math:`d_k \cdot average + (1 - d_k) \cdot current` with
    :math:`d_k = (1 - momentum) (1 - \exp(-k / gamma))`. With gradient accumulation MMEngine's hook counts
    iterations, so that the ramp ends too early and the same weights are averaged several times; this one counts
    steps. One difference to YOLOv5 remains: MMEngine's first update copies the weights, i.e. d_1 = 0 instead of
    0.0005. (The copy is needed: the average is made before the weights are initialised.)

    Validation, testing and the checkpoint's ``state_dict`` use the average; ``ema_state_dict`` holds the raw weights
    and the step count for resuming. Under AMP, a step that the gradient scaler skips counts, as in YOLOv5.

    Args:
        momentum (float): 1 - the decay reached at the end. YOLOv5: 1e-4.
        gamma (int): Time constant of the ramp, in optimizer steps. YOLOv5: 2000.
        update_buffers (bool): Average the buffers (BN statistics) too.
        **kwargs: ``begin_iter``, ``begin_epoch``, ``strict_load`` of ``EMAHook``.
    """

    # Just before the other NORMAL hooks, so that they see the averaged weights in validation.
    priority = 49

    def __init__(self, momentum: float = 1e-4, gamma: int = 2000, update_buffers: bool = True, **kwargs) -> None:
        super().__init__(
            ema_type='mmcnn.StepEMA', momentum=momentum, gamma=gamma, update_buffers=update_buffers, **kwargs
        )

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | tuple | list | None = None, outputs: dict | None = None
    ) -> None:
        """Update the average if the iteration that has just ended made an optimizer step."""
        # The wrapper's count is already past this iteration, so this is what update_params() checked before its step.
        # Our training loop may have rejected it.
        if runner.optim_wrapper.should_update() and getattr(runner.train_loop, 'stepped', True):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
