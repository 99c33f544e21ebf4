"""No step of the optimizer from a loss or a gradient that is not finite."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmcnn.compat import private_names

#: A dynamic loss scale that has been lowered so often in a row (65,536 to 0.06) will not find a finite gradient.
MAX_OVERFLOWS = 20


class StepGuard:
    """Stands in for an optimizer wrapper in ``train_step``, and lets only finite losses and gradients through.

    A loss that is not finite on any rank is never differentiated, so that gradients accumulated before it stay good:
    the step is made of the others. A gradient that is not finite is dropped with all that was accumulated for its step.
    Under AMP gradients overflow now and then and the scaler skips the step; there only ``MAX_OVERFLOWS`` in a row
    count.

    Args:
        wrapper (OptimWrapper): MMEngine's, plain or AMP.
        stop (bool): make no step at all once something was refused.

    Attributes:
        refused (str | None): What the last call refused: ``'loss'``, ``'gradient'`` or nothing.
        stepped (bool): Whether the last call made a step.
    """

    def __init__(self, wrapper: OptimWrapper, stop: bool = True) -> None:
        self.wrapper = wrapper
        self.stop = stop
        self.refused: str | None = None
        self.stepped = False
        self._overflows = 0
        self._scale = 0.0

    def optim_context(self, model: nn.Module) -> Any:
        """The wrapper's own."""
        return self.wrapper.optim_context(model)

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """As the wrapper's: gradients of ``loss``, and a step where one is due."""
        wrapper = self.wrapper
        self.refused, self.stepped = None, False
        if on_any_rank(not torch.isfinite(loss).all()):
            self.refused = 'loss'
            if self.stop:
                return
            private_names.count_iteration(wrapper)
            if wrapper.should_update():
                self.average()  # this call would have done so
        else:
            wrapper.backward(wrapper.scale_loss(loss))
        if not wrapper.should_update() or not (gradients := self._gradients()):
            return
        if not self._finite(gradients):
            self.refused = 'gradient'
            if self.stop:
                return
        else:
            wrapper.step(**(step_kwargs or {}))
            self.stepped = True
        wrapper.zero_grad(**(zero_kwargs or {}))

    def average(self) -> None:
        """Makes gradients that wait for a step, which each rank has of its own images, the same on all ranks."""
        if get_world_size() == 1 or not self._gradients():
            return
        for group in self.wrapper.optimizer.param_groups:
            for parameter in group['params']:
                if parameter.grad is None:  # on this rank
                    parameter.grad = torch.zeros_like(parameter)
                all_reduce(parameter.grad, 'mean')

    def _gradients(self) -> list[Tensor]:
        groups = self.wrapper.optimizer.param_groups
        return [parameter.grad for group in groups for parameter in group['params'] if parameter.grad is not None]

    def _finite(self, gradients: list[Tensor]) -> bool:
        scaler = getattr(self.wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():  # bf16 has one that does nothing
            # The largest entry: the square of a large gradient may be infinite.
            return bool(torch.nn.utils.get_total_norm(gradients, norm_type=float('inf')).isfinite())
        # The scaler looks at the gradients itself, in its step.
        scale = scaler.get_scale()
        self._overflows = self._overflows + 1 if scale < self._scale else 0
        self._scale = scale
        return self._overflows < MAX_OVERFLOWS


def on_any_rank(flag: bool | Tensor) -> bool:
    """Whether a condition holds on one rank at least; all have to ask."""
    if get_world_size() == 1:
        return bool(flag)
    count = torch.tensor(float(flag))
    all_reduce(count, 'max')
    return bool(count)
