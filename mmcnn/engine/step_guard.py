"""A guard against optimizer steps, averages and checkpoints from a loss or gradient that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

from mmcnn.compat import private_names

#: A dynamic loss scale that was reduced this often in a row (65,536 to 0.06) will not find a finite gradient.
MAX_OVERFLOWS = 20
#: Key of the gradient norm among the numbers.
_NORM = object()


class StepGuard:
    """Replaces an optimizer wrapper in ``train_step`` and rejects losses and gradients that are not finite.

    A loss that is not finite on any rank is never differentiated, so that gradients accumulated before it stay valid:
    the step uses the others. A gradient that is not finite is dropped with all gradients accumulated for its step.
    Under AMP, gradients overflow occasionally and the scaler skips the step; only ``MAX_OVERFLOWS`` in a row are
    rejected there.

    Reading a number from a GPU makes the host wait for all queued work. A rejection must be known before the step only
    if training continues without it. With ``stop`` on a GPU, the step is therefore made without checking, and
    :meth:`read` checks once per step whether it was valid, before hooks average or save anything of it.

    Args:
        wrapper (OptimWrapper): MMEngine's, plain or AMP.
        stop (bool): make no more steps after a rejection.
        ask (Callable): a condition on this rank, such as a received signal. It is sent in the one message that the
            ranks exchange in each iteration anyway.

    Attributes:
        told (bool): Whether :attr:`ask` has held on any rank in an iteration so far; the same on all ranks after each
            :meth:`read`. False with a single process, which does not need to ask others.
        refused (str | None): What the last call rejected: ``'loss'``, ``'gradient'`` or None; for a step without
            checking, known after :meth:`read`.
        stepped (bool): Whether the last call made a step.
    """

    def __init__(self, wrapper: OptimWrapper, stop: bool = True, ask: Callable[[], bool] = lambda: False) -> None:
        self.wrapper = wrapper
        self.stop = stop
        self.ask = ask
        self.told = False
        self.refused: str | None = None
        self.stepped = False
        self._overflows = 0
        self._scale = 0.0
        self._unseen: dict[str, Tensor] = {}  # what may be rejected -> whether it must be
        self._norm: Tensor | None = None
        self._measured: list[int] = []  # identities of the parameters whose gradients have this norm

    def optim_context(self, model: nn.Module) -> Any:
        """Return the wrapper's context."""
        return self.wrapper.optim_context(model)

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """Compute the gradients of ``loss``, and make a step if one is due, like the wrapper."""
        wrapper = self.wrapper
        self.refused, self.stepped, self._norm, self._unseen = None, False, None, {}
        if self.stop and _costs_a_wait(loss):
            self._unseen = dict(loss=~torch.isfinite(loss).all(), gradient=torch.zeros_like(loss, dtype=torch.bool))
            wrapper.backward(wrapper.scale_loss(loss))
        elif self._is_bad(loss):
            self.refused = 'loss'
            if self.stop:
                return
            private_names.count_iteration(wrapper)
            if wrapper.should_update():
                self.average()  # this call would have averaged them
        else:
            wrapper.backward(wrapper.scale_loss(loss))
        if not wrapper.should_update() or not (gradients := self._gradients()):
            return
        if not self._finite(gradients):
            self.refused = 'gradient'
            if self.stop:
                return
        else:
            self._step(step_kwargs or {})
            self.stepped = True
        wrapper.zero_grad(**(zero_kwargs or {}))

    def read(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return a step's results with numbers on the host, and set :attr:`refused`, with a single wait for the device.

        The norm of clipped gradients is stored in the message hub, as MMEngine's wrapper does.

        Args:
            outputs: Results of ``train_step``. Tensors with one number are copied to the host; all others are kept.
        """
        numbers = {key: value.detach() for key, value in outputs.items() if _is_number(value)}
        if self._norm is not None:
            numbers[_NORM] = self._norm.detach()
        tensors = (*self._unseen.values(), *numbers.values())
        if away := [tensor.device for tensor in tensors if _costs_a_wait(tensor)]:
            numbers = self._from_device(numbers, away[0])
        if _NORM in numbers:
            wrapper = self.wrapper
            wrapper.message_hub.update_scalar(f'train/{wrapper.grad_name}', float(numbers.pop(_NORM)))
        return {**outputs, **numbers}

    def _from_device(self, numbers: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        wide = any(value.dtype == torch.float64 for value in numbers.values())
        given = [*self._unseen.values(), *numbers.values()]
        packed = torch.stack(
            [value.to(device, torch.float64 if wide else torch.float32).reshape(()) for value in given]
        )
        flags, values = packed.split([len(self._unseen), len(numbers)])
        if self._unseen and get_world_size() > 1:
            flags = self._of_all_ranks(flags)
            packed = torch.cat([flags, values])
        flags, values = packed.cpu().split([len(flags), len(numbers)])
        *flags, told = flags.tolist() if len(flags) > len(self._unseen) else [*flags.tolist(), 0.0]
        self.told |= bool(told)
        bad = [what for what, is_bad in zip(self._unseen, flags, strict=True) if is_bad]
        self.refused = self.refused or (bad[0] if bad else None)
        return dict(zip(numbers, values.unbind(), strict=True))

    def _is_bad(self, loss: Tensor) -> bool:
        """Return whether a loss is not finite on any rank."""
        bad = ~torch.isfinite(loss).all()
        if get_world_size() == 1:
            return bool(bad)
        is_bad, told = self._of_all_ranks(bad.float().reshape(1)).tolist()
        self.told |= bool(told)
        return bool(is_bad)

    def _of_all_ranks(self, flags: Tensor) -> Tensor:
        """Exchange an iteration's only message: which flags any rank has set and, last, whether any rank has asked."""
        flags = torch.cat([flags, torch.full_like(flags[:1], float(self.ask()))])
        all_reduce(flags, 'max')
        return flags

    def _step(self, kwargs: dict) -> None:
        """Make the wrapper's step, which on its own would read or compute the gradient norm immediately."""
        wrapper, clip = self.wrapper, getattr(self.wrapper, 'clip_func', None)
        if clip is None:
            wrapper.step(**kwargs)
            return

        def clip_unseen(parameters: Sequence[nn.Parameter], *args: Any, **kwargs: Any) -> None:
            if self._norm is not None and [*map(id, parameters)] == self._measured and 'max_norm' in kwargs:
                _clip_to(kwargs['max_norm'], self._norm, parameters, kwargs.get('foreach'))
            else:  # also of a wrapper that clips its groups of parameters one by one
                self._norm = clip(parameters, *args, **kwargs)

        wrapper.clip_func = clip_unseen
        try:
            wrapper.step(**kwargs)
        finally:
            wrapper.clip_func = clip

    def average(self) -> None:
        """Average accumulated gradients over the ranks, each of which has those of its own images."""
        if get_world_size() == 1 or not self._gradients():
            return
        for group in self.wrapper.optimizer.param_groups:
            for parameter in group['params']:
                if parameter.grad is None:  # on this rank
                    parameter.grad = torch.zeros_like(parameter)
                all_reduce(parameter.grad, 'mean')

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self._with_gradients()]

    def _with_gradients(self) -> list[nn.Parameter]:
        """Return the parameters that have gradients."""
        groups = self.wrapper.optimizer.param_groups
        return [parameter for group in groups for parameter in group['params'] if parameter.grad is not None]

    def _finite(self, gradients: list[Tensor]) -> bool:
        scaler = getattr(self.wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():  # bf16 has one that does nothing
            if not self._unseen:
                return self._has_finite_norm(gradients) or _all_finite(gradients)
            self._unseen['gradient'] = ~_largest(gradients).isfinite()
            return True
        # The scaler checks the gradients itself in its step.
        scale = scaler.get_scale()
        self._overflows = self._overflows + 1 if scale < self._scale else 0
        self._scale = scale
        return self._overflows < MAX_OVERFLOWS

    def _has_finite_norm(self, gradients: list[Tensor]) -> bool:
        """Compute the norm that clipping needs, if it can tell: then nothing else has to read the gradients.

        False: it is not finite, perhaps only because a square is not, or the gradients are not clipped in this way.
        """
        wrapper = self.wrapper
        if getattr(wrapper, 'clip_func', None) is not clip_grad_norm_ or any(map(_costs_a_wait, gradients)):
            return False
        how = wrapper.clip_grad_kwargs
        norm_type = float(how.get('norm_type', 2.0))
        if norm_type <= 0:  # the number of entries that are not 0, for example
            return False
        norm = get_total_norm(gradients, norm_type, foreach=how.get('foreach'))
        if not math.isfinite(norm):
            return False
        self._norm, self._measured = norm, [*map(id, self._with_gradients())]
        return True


def _clip_to(max_norm: float, norm: Tensor, parameters: Sequence[nn.Parameter], foreach: bool | None) -> None:
    """Clip gradients on the CPU, whose norm this is, as PyTorch does, which would also multiply by a factor of 1."""
    if max_norm / (norm + 1e-6) < 1:
        clip_grads_with_norm_(parameters, max_norm, norm, foreach)


def _all_finite(gradients: Sequence[Tensor]) -> bool:
    # A sum is not finite if any of its terms is not. It takes an eighth of the time of a norm on the CPU; only if
    # large numbers make it overflow is it inconclusive.
    if not _costs_a_wait(gradients[0]) and math.isfinite(sum(gradient.sum().item() for gradient in gradients)):
        return True
    return bool(_largest(gradients).isfinite())


def _largest(gradients: Sequence[Tensor]) -> Tensor:
    """Return the largest absolute entry, because the square of a large gradient may be infinite."""
    return torch.nn.utils.get_total_norm(gradients, norm_type=float('inf'))


def _costs_a_wait(tensor: Tensor) -> bool:
    return tensor.device.type != 'cpu'


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()


def on_any_rank(flag: bool | Tensor) -> bool:
    """Return whether a condition holds on at least one rank; all ranks must call this."""
    if get_world_size() == 1:
        return bool(flag)
    count = torch.as_tensor(flag).float()  # on its own device: a copy to another one would wait again
    all_reduce(count, 'max')
    return bool(count)
