import re
from pathlib import Path

import pytest
import torch

from tests.cuda_simulation import guard_slot
from tests.cuda_simulation.guard_slot import TRIED_WITH, NoSlotError, filled, find_registry

CONSTRAINTS = Path(__file__).resolve().parents[2] / 'constraints.txt'
XLA, META = 9, 14


def test_the_pinned_pytorch_has_the_slot():
    """On other versions tests without a slot are skipped; on the pinned version they must not be."""
    pinned = re.search(r'^torch==([\d.]+)$', CONSTRAINTS.read_text(), re.MULTILINE)[1]
    assert pinned in TRIED_WITH
    if torch.__version__.partition('+')[0] == pinned:
        registry = find_registry()
        assert registry[META] and not registry[XLA]


@pytest.mark.parametrize(
    ('kwargs', 'cause'),
    [
        (dict(symbol='_ZN3c104impl4noneE'), 'libc10.so has no registry of device guards'),
        (dict(library=Path('/none/c10.dll')), 'c10.dll has no registry of device guards'),
    ],
)
def test_a_pytorch_without_it_is_told_in_a_line(kwargs, cause):
    with pytest.raises(NoSlotError, match=re.escape(cause)) as found:
        find_registry(**kwargs)
    assert '\n' not in str(found.value)
    assert f'was tried with PyTorch {", ".join(TRIED_WITH)}, and this is {torch.__version__}' in str(found.value)


@pytest.mark.parametrize(
    ('slot', 'value', 'cause'), [(META, None, 'no guard of the CPU or of the meta device'), (XLA, 1, 'torch_xla')]
)
def test_a_registry_that_looks_otherwise_is_not_used(slot, value, cause, monkeypatch):
    class Library:
        def in_dll(self, library, symbol):
            pointers = [None] * guard_slot.LENGTH
            pointers[0] = pointers[META] = 2
            pointers[slot] = value
            return pointers

    monkeypatch.setattr(guard_slot.ctypes, 'c_void_p', type('Pointer', (), {'__mul__': lambda *args: Library()})())
    with pytest.raises(NoSlotError, match=cause):
        find_registry()


def test_the_slot_is_empty_again(simulate):
    with filled():
        assert find_registry()[XLA] == find_registry()[META]
    assert not find_registry()[XLA]
    with pytest.raises(ZeroDivisionError), simulate():
        1 / 0  # noqa: B018
    assert not find_registry()[XLA]
