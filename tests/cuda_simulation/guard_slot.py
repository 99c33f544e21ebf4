"""The empty slot of libc10's registry of device guards, in which the simulated device gets a guard.

For C++ the simulated device is XLA: it has autograd keys, no kernels in any wheel, counts as eligible for CUDA's
autocast and is no accelerator with streams. Autograd asks for the guard of the devices that it meets; PyTorch has none
for XLA, and no Python function registers one. The guard of the meta device does nothing; its pointer is put there.

The registry is a private symbol: ``c10::impl::device_guard_impl_registry`` of c10/core/impl/DeviceGuardImplInterface.h.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch

#: Versions of PyTorch that the simulation was tried with.
TRIED_WITH = ('2.13.0', '2.14.1')
SYMBOL = '_ZN3c104impl26device_guard_impl_registryE'
# Of c10::DeviceType (torch/headeronly/core/DeviceType.h); its last is below LENGTH.
_CPU, _XLA, _META, LENGTH = 0, 9, 14, 21


class NoSlotError(RuntimeError):
    """This PyTorch has no slot for the guard of a simulated device."""


def find_registry(library: Path | None = None, symbol: str = SYMBOL) -> ctypes.Array:
    """The registry of device guards, as an array of pointers.

    Args:
        library: path of libc10; None: that of the imported PyTorch.
        symbol: its mangled name.

    Raises:
        NoSlotError: the library or the symbol is not there, or the registry does not look as it did in the versions
            that were tried. The message is one line.
    """
    library = library or Path(torch.__file__).parent / 'lib' / 'libc10.so'
    tried = f'the CUDA simulation was tried with PyTorch {", ".join(TRIED_WITH)}, and this is {torch.__version__}'
    try:
        registry = (ctypes.c_void_p * LENGTH).in_dll(ctypes.CDLL(str(library)), symbol)
    except (OSError, ValueError) as error:
        raise NoSlotError(f'{library.name} has no registry of device guards ({error}); {tried}') from error
    if not registry[_CPU] or not registry[_META]:
        raise NoSlotError(f'the registry in {library.name} has no guard of the CPU or of the meta device; {tried}')
    if registry[_XLA] and registry[_XLA] != registry[_META]:
        raise NoSlotError(f'the registry in {library.name} has a guard for XLA already, perhaps of torch_xla; {tried}')
    return registry


@contextlib.contextmanager
def filled() -> Iterator[None]:
    """While it is open, XLA has the guard of the meta device.

    Raises:
        NoSlotError: see :func:`find_registry`.
    """
    registry = find_registry()
    before = registry[_XLA]
    registry[_XLA] = registry[_META]
    try:
        yield
    finally:
        registry[_XLA] = before
