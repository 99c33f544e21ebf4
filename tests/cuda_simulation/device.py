"""Tensors of the simulated device: values on the CPU, 'cuda:0' for Python, autograd and autocast as on CUDA."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CUDA = torch.device('cuda', 0)


class DeviceMixError(RuntimeError):
    """An operator got tensors of two devices, which CUDA refuses."""


class SimulatedTensor(Tensor):
    """A tensor on 'cuda:0' whose values are in the CPU tensor ``values``.

    For C++ its device is XLA (:mod:`.guard_slot`) with CUDA's autocast as a dispatch key. Every operator on it goes to
    :attr:`run`, which :class:`~.simulation.CudaSimulation` sets while it is open.
    """

    #: (operator, positional arguments, keyword arguments) -> result
    run: Callable | None = None
    #: Notes that the host waits.
    wait: Callable[[str], None] | None = None

    @staticmethod
    def __new__(cls, values: Tensor, requires_grad: bool = False):
        made = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device='xla:0',
            requires_grad=requires_grad,
            _extra_dispatch_keys=torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA),
        )
        made.values_on_cpu = values
        return made

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_xla = property(lambda self: False)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        refused = _REFUSED.get(func)
        if refused is not None and isinstance(args[0], SimulatedTensor):
            raise refused
        if func is Tensor.tolist and isinstance(args[0], SimulatedTensor):
            cls.wait('tolist')
            return args[0].values_on_cpu.tolist()
        if func is Tensor.is_pinned:
            return False
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if cls.run is None:
            raise RuntimeError(f'{func} on a tensor of a simulation that is over')
        return cls.run(func, args, kwargs or {})

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            with torch.no_grad():
                copied = SimulatedTensor(self.values_on_cpu.clone(), self.requires_grad)
            if getattr(self, '_is_param', False):  # nn.Parameter sets it on tensors of subclasses
                copied._is_param = True
            memo[id(self)] = copied
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        """Pickles a plain tensor, which torch.load puts where ``map_location`` says; saving waits for the device."""
        type(self).wait('torch.save')
        values = self.values_on_cpu.detach()
        if getattr(self, '_is_param', False):
            values = torch.nn.Parameter(values, self.requires_grad)
        return values.__reduce_ex__(protocol)

    def __format__(self, spec):
        return format(self.item() if self.dim() == 0 else repr(self), spec)

    def __repr__(self, **kwargs):
        type(self).wait('repr')
        return f"{self.values_on_cpu!r}[device='cuda:0']"


def values_of(value):
    """The CPU values of a simulated tensor; anything else is returned unchanged."""
    return value.values_on_cpu if isinstance(value, SimulatedTensor) else value


_NO_NUMPY = TypeError(
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
)
_REFUSED = {
    Tensor.numpy: _NO_NUMPY,
    Tensor.__array__: _NO_NUMPY,
    Tensor.pin_memory: RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"),
}
