"""Puts a guard for the simulated device into an empty slot of libc10's registry of device guards.

For C++ the simulated device is XLA, which has autograd keys but no kernels in any wheel, is eligible for CUDA's
autocast and is not an accelerator with streams. Autograd needs the guard of every device that it meets; PyTorch has
none for XLA, and no Python function registers one. The meta device's guard does nothing, so the slot gets its pointer.

The registry is a private symbol, ``c10::impl::device_guard_impl_registry`` (c10/core/impl/DeviceGuardImplInterface.h).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch

#: Versions of PyTorch with which the simulation was tried.
TRIED_WITH = ('2.11.0', '2.13.0', '2.14.1')
SYMBOL = '_ZN3c104impl26device_guard_impl_registryE'
# Values of c10::DeviceType (torch/headeronly/core/DeviceType.h), all of which are below LENGTH.
_CPU, _XLA, _META, LENGTH = 0, 9, 14, 21


class NoSlotError(RuntimeError):
    """This PyTorch has no slot for the guard of a simulated device."""


def find_registry(library: Path | None = None, symbol: str = SYMBOL) -> ctypes.Array:
    """The registry of device guards, as an array of pointers.

    Args:
        library: path of libc10; None: the imported PyTorch's.
        symbol: the registry's mangled name.

    Raises:
        NoSlotError: the library or the symbol does not exist, or the registry does not look as in the versions that
            were tried. The message is one line.
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
    """Gives XLA the guard of the meta device within the context.

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
