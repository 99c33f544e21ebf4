"""Simulates a CUDA device in Python: finds mixed devices, waits, faults and what is not deterministic.

    with CudaSimulation() as gpu:
        model.to('cuda'); ...; loss.backward(); optimizer.step()
    print(gpu.record.report())

Values, shapes and branches that depend on them are those of a real run on the CPU, and ``torch.autocast('cuda')`` has
its real rules. docs/gpu.md lists what the simulation cannot find.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from unittest.mock import patch

import torch
import torch._dynamo  # a factory in a dispatch mode imports it, which fails after torch.cuda is patched
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from . import conversions, guard_slot, operators, patches, torchvision_ops
from .device import CUDA, DeviceMixError, SimulatedTensor, values_of
from .records import Record, caller

_CPU = torch.device('cpu')
_COPIES = ('_to_copy', 'copy_', 'copy', '_copy_from', '_copy_from_and_resize', 'set_')


class CudaSimulation(TorchDispatchMode):
    """A context in which 'cuda' exists.

    Args:
        strict: raise where a real device refuses; False: note it in ``record.faults`` and continue.
        torchvision: whether torchvision's CUDA operators exist.
        by_line: note the lines that start kernels and not only their number, which is slower.

    Attributes:
        record: what was noted since the simulation began.

    Raises:
        NoSlotError: from ``__enter__``, see :mod:`.guard_slot`.
    """

    def __init__(self, strict: bool = True, torchvision: bool = True, by_line: bool = False) -> None:
        super().__init__()
        self.strict = strict
        self.torchvision = torchvision
        self.by_line = by_line
        self.record = Record()

    def __enter__(self):
        if SimulatedTensor.run is not None:
            raise RuntimeError('a simulation is open already')
        with contextlib.ExitStack() as stack:
            stack.enter_context(guard_slot.filled())
            stack.enter_context(torch.autograd.set_multithreading_enabled(False))
            for target, name, value in (*conversions.patches(), *patches.patches(self), *torchvision_ops.patches(self)):
                stack.enter_context(patch.object(target, name, value))
            stack.enter_context(patches.swapped_parameters())
            stack.enter_context(conversions.Conversions())
            stack.callback(conversions.forget_pinned)
            stack.enter_context(patch.object(SimulatedTensor, 'run', self.run))
            stack.enter_context(patch.object(SimulatedTensor, 'wait', self.wait))
            entered = super().__enter__()
            self._stack = stack.pop_all()
        return entered

    def __exit__(self, *error):
        super().__exit__(*error)
        self._stack.close()

    @contextlib.contextmanager
    def recorded(self) -> Iterator[Record]:
        """Within the context everything is noted in the record that it gives instead of ``record``."""
        kept, self.record = self.record, Record()
        try:
            yield self.record
        finally:
            self.record = kept

    # ---------------------------------------------------------------------------------------------------------- notes

    def wait(self, what: str) -> None:
        """Notes that the host waits for the device."""
        self.record.waits[what, caller()] += 1

    def kernel(self) -> None:
        """Notes that a kernel is started."""
        self.record.kernels[caller() if self.by_line else ''] += 1

    def refuse(self, error: RuntimeError) -> None:
        """Notes a fault, and raises it if the simulation is strict."""
        where = caller()
        self.record.faults[str(error), where] += 1
        if self.strict:
            raise type(error)(f'{error}, at {where}')

    # ------------------------------------------------------------------------------------------------------ operators

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.run(func, args, kwargs or {})

    def run(self, func, args, kwargs):
        """Checks and notes an operator and computes it on the CPU."""
        flat = list(_leaves((args, tuple(kwargs.values()))))
        ours = [each for each in flat if isinstance(each, SimulatedTensor)]
        device = kwargs.get('device')
        asked = device is not None and torch.device(device).type in ('cuda', 'xla')
        if not ours and not asked:
            return func(*args, **kwargs)
        name = operators.name_of(func)
        on_device = asked or device is None
        if name in _COPIES:
            on_device = self._copies(name, args, kwargs, asked)
        elif ours:
            self._check_devices(func, name, args, flat)
            if what := operators.why_it_waits(name, args, kwargs):
                self.wait(what)
        if torch.are_deterministic_algorithms_enabled() and (what := operators.why_it_is_not_deterministic(name, args)):
            if torch.is_deterministic_algorithms_warn_only_enabled():
                self.record.faults[what, caller()] += 1
            else:
                self.refuse(RuntimeError(what))
        result = self._computed(func, name, args, kwargs)
        for each in ours:
            if each.values_on_cpu.shape != each.shape:
                raise NotImplementedError(f'{func} changes the shape of its argument in place')
        if name not in operators.WITHOUT_KERNEL and not operators.is_view(func):
            self.kernel()
        if not on_device:
            return result
        known = {id(each.values_on_cpu): each for each in ours}  # a tensor changed in place is returned itself

        def on_device_again(value):
            if not isinstance(value, Tensor):
                return value
            return known[id(value)] if id(value) in known else SimulatedTensor(value)

        return _changed(result, on_device_again)

    def _computed(self, func, name: str, args, kwargs):
        args = _changed(args, _on_cpu)
        kwargs = {key: _changed(value, _on_cpu) for key, value in kwargs.items()}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            if name.startswith('torchvision::'):
                return torchvision_ops.on_cpu(func, args, kwargs)
            return func(*args, **kwargs)

    def _copies(self, name: str, args, kwargs, asked: bool) -> bool:
        """Notes a copy between host and device, and returns whether its result is on the device."""
        if name == '_to_copy':
            source = target = args[0]
            to_device = asked or (kwargs.get('device') is None and isinstance(source, SimulatedTensor))
        else:
            target, source = args[:2]
            to_device = isinstance(target, SimulatedTensor)
        from_device = isinstance(source, SimulatedTensor)
        if from_device == to_device or not source.numel():
            return to_device
        what = 'copy from device to host' if from_device else 'copy from host to device'
        if not (kwargs.get('non_blocking') or (name == 'copy_' and len(args) > 2 and args[2])):
            self.wait(what)
        elif from_device and name == 'copy_' and not conversions.is_pinned(target):
            self.wait(f'{what}, which is not pinned')
        elif from_device or conversions.is_pinned(source):
            self.record.overlapped[what, caller()] += 1  # for _to_copy PyTorch pins the host's side
        else:
            self.record.pageable[what, caller()] += 1
        return to_device

    def _check_devices(self, func, name: str, args, flat: list) -> None:
        """Refuses CPU tensors where CUDA does."""
        cpu = [each for each in flat if isinstance(each, Tensor) and not isinstance(each, SimulatedTensor)]
        if not cpu:
            return
        if name in operators.INDEXING and isinstance(args[0], SimulatedTensor):
            indices = [each for each in args[1] if any(each is one for one in cpu)]
            for _ in indices:
                self.wait('copy from host to device of an index')
            cpu = [each for each in cpu if not any(each is index for index in indices)]
        takes_scalars = (
            torch.Tag.pointwise in func.tags or name in operators.TAKES_CPU_SCALARS or name.startswith('_foreach')
        )
        wrong = [each for each in cpu if each.dim() or not takes_scalars]
        if func._schema.is_mutable and args and any(args[0] is each for each in cpu):
            wrong = wrong or [args[0]]
        if wrong:
            shapes = ', '.join(f'{tuple(each.shape)} {str(each.dtype).removeprefix("torch.")}' for each in wrong)
            message = f'Expected all tensors to be on the same device, but {func} got {CUDA} and cpu: {shapes}'
            self.refuse(DeviceMixError(message))


def _leaves(value) -> Iterator:
    """The arguments of an operator, with lists and tuples flattened."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _changed(value, change):
    """Applies ``change`` to a value, or to each in a list or tuple."""
    if isinstance(value, list | tuple):
        return type(value)([_changed(each, change) for each in value])
    return change(value)


def _on_cpu(value):
    return _CPU if isinstance(value, torch.device) else values_of(value)
