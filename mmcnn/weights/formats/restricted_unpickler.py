"""Pickles read as inert data: no name is imported, nothing is called, no attribute is set.

``pickle.Unpickler`` with a strict ``find_class`` is not enough for untrusted files: its BUILD calls ``__setstate__``
and ``setattr``, its EXT opcodes bypass ``find_class``, a memo index of 2**31 allocates gigabytes, and a dict key of
nested tuples recurses through the C stack until the process dies. So the opcodes, which the standard library's
``pickletools`` decodes, operate here only on plain containers and stand-ins.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

#: Maximum number of opcodes in a pickle. Checkpoints of whole training runs have about ten thousand.
MAX_OPERATIONS = 1_000_000
#: Maximum size of the pickles of a file in bytes, without the tensors.
MAX_BYTES = 2**28
MAX_LINE = 2**16
#: Larger integers are rejected as keys: an attacker could choose them to have the same hash.
MAX_INTEGER_KEY = 2**60
MAX_TUPLE_KEY = 8
#: Maximum number of arguments of all calls: their cost grows with the arguments, while a repeated mention is free.
MAX_ARGUMENTS = 16

NO_ACTION = {'PROTO', 'FRAME'}
VALUES = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
EMPTY = {'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple, 'EMPTY_DICT': dict, 'EMPTY_SET': set}
SHORT_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
ARGUMENT = {
    *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
    *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
    *('UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'),
}


@dataclass(eq=False, repr=False, slots=True)
class StandIn:
    """Replaces a class, a function or an object: its name and its content in the file."""

    #: 'models.common.Conv': the class or function; for an object, its class.
    name: str
    #: Arguments of the call that made it; None: the name was not called.
    args: tuple | None = None
    #: What the object's ``__setstate__`` would get, usually the dict of its attributes.
    state: Any = None


class BoundedReader:
    """The ``read`` and ``readline`` of a binary file, limited to :data:`MAX_BYTES` and to lines of 64 KiB.

    A length in a pickle is not trusted: it is compared with the number of available bytes before any are read.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.left = min(size, MAX_BYTES)

    def read(self, count: int) -> bytes:
        """Read bytes, within the limit."""
        self._take(count)
        return self.file.read(count)

    def readline(self) -> bytes:
        """Read a line, within the limits of line and file."""
        line = self.file.readline(min(MAX_LINE, self.left))
        self._take(len(line))
        return line

    def _take(self, count: int) -> None:
        if count > self.left:
            raise pickle.UnpicklingError('an entry is longer than the file or than any checkpoint needs')
        self.left -= count


class RestrictedUnpickler:
    """Reads one pickle and returns numbers, text, lists, tuples, sets and dicts, and :class:`StandIn` for the rest.

    Containers that are subclasses (``defaultdict``) are stand-ins without their items; ``OrderedDict`` is a dict.

    Args:
        file: an object with ``read`` and ``readline``; its position is then after the pickle.
        builders: name of a function -> function that takes the arguments of its calls.
        persistent: takes the ids of objects outside the pickle.

    Attributes:
        names: names of all classes and functions in the pickle, in order.
        calls: names of those that it calls, except the builders; ``NAME()`` calls the result of a call of NAME.
    """

    def __init__(
        self,
        file: BinaryIO | BoundedReader,
        builders: Mapping[str, Callable] | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.file = file
        self.builders = {'collections.OrderedDict': _ordered_dict, **(builders or {})}
        self.persistent = persistent
        self.names: list[str] = []
        self.calls: list[str] = []
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the object.

        Raises:
            pickle.UnpicklingError: the pickle is truncated, damaged, too large, or unlike a checkpoint's.
        """
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(self.file)):
                if count == MAX_OPERATIONS:
                    raise pickle.UnpicklingError(f'it has more than {MAX_OPERATIONS:,} entries')
                if opcode.name == 'STOP':
                    break
                self._act(opcode.name, argument)
            return self._stack.pop()
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # a damaged pickle pops from empty stacks, unpacks what is not a pair ...
            raise pickle.UnpicklingError(f'{type(error).__name__}: {error}'[:200]) from error

    def _act(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ARGUMENT:
            stack.append(argument)
        elif name in VALUES:
            stack.append(VALUES[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in SHORT_TUPLES:
            count = SHORT_TUPLES[name]
            if len(stack) < count:
                raise pickle.UnpicklingError('a tuple has more items than there are')
            stack[-count:] = [tuple(stack[-count:])]
        elif name in NO_ACTION:
            pass
        elif (action := getattr(self, f'_{name.lower()}', None)) is not None:
            action(argument) if argument is not None else action()
        else:  # EXT1: an object of this process; NEXT_BUFFER: one next to the file; PERSID: torch writes BINPERSID
            raise pickle.UnpicklingError(f'checkpoints do not use {name}')

    # ---------------------------------------------------------------------------------------------- stack and memo

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self) -> None:
        self._since_mark()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _binget = _long_binget = _get

    # -------------------------------------------------------------------------------------------------- containers

    def _tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _list(self) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set(items)

    def _frozenset(self) -> None:
        items = self._since_mark()
        self._stack.append(frozenset(map(_key, items)))

    def _append(self) -> None:
        self._add([self._stack.pop()])

    def _appends(self) -> None:
        self._add(self._since_mark())

    def _additems(self) -> None:
        self._add(self._since_mark())

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self._since_mark())

    def _add(self, items: list[Any]) -> None:
        match self._stack[-1]:
            case list() as values:
                values.extend(items)
            case set() as values:
                values.update(map(_key, items))
            case StandIn():
                pass
            case other:
                raise pickle.UnpicklingError(f'items are set for a {type(other).__name__}')

    def _set(self, items: list[Any]) -> None:
        match self._stack[-1]:
            case dict() as values:
                values.update(zip(map(_key, items[::2]), items[1::2], strict=True))
            case StandIn():
                pass
            case other:
                raise pickle.UnpicklingError(f'items are set for a {type(other).__name__}')

    # --------------------------------------------------------------------------------------------- names and calls

    def _global(self, argument: str) -> None:
        self._name(*argument.split(' ', 1))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise pickle.UnpicklingError('a name is not text')
        # protocols 0 to 2 write Python 2's name of the module
        self.names.append(f'{"builtins" if module == "__builtin__" else module}.{name}')
        self._stack.append(StandIn(self.names[-1]))

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, arguments)

    _newobj = _reduce

    def _newobj_ex(self) -> None:
        self._stack.pop()  # the keywords
        self._reduce()

    def _inst(self, argument: str) -> None:
        items = self._since_mark()
        self._global(argument)
        self._call(self._stack.pop(), tuple(items))

    def _obj(self) -> None:
        function, *arguments = self._since_mark()
        self._call(function, tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        if type(function) is not StandIn or type(arguments) is not tuple:
            raise pickle.UnpicklingError(f'it calls a {type(function).__name__}')
        build = self.builders.get(function.name) if function.args is None else None
        if build and len(arguments) <= MAX_ARGUMENTS:
            self._stack.append(build(*arguments))
            return
        self.calls.append(function.name if function.args is None else f'{function.name}()')
        self._stack.append(StandIn(function.name, arguments))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is StandIn:
            target.state = state
        elif type(target) is not dict:  # an OrderedDict's attributes are not needed for a dict
            raise pickle.UnpicklingError(f'attributes are set for a {type(target).__name__}')

    def _binpersid(self) -> None:
        if self.persistent is None:
            raise pickle.UnpicklingError('it refers to an object outside the file')
        self._stack.append(self.persistent(self._stack.pop()))


def _ordered_dict(*arguments: Any) -> dict | StandIn:
    """Return an empty dict if there are no arguments; copies of what exists could be made without limit."""
    return StandIn('collections.OrderedDict', arguments) if arguments else {}


def _key(value: Any) -> Any:
    """Return a value as the key of a dict: no nested tuples, whose hash recurses as deeply as the file likes."""
    flat = value if type(value) is tuple and len(value) <= MAX_TUPLE_KEY else (value,)
    for item in flat:
        small = type(item) is int and abs(item) < MAX_INTEGER_KEY
        if not small and not isinstance(item, str | bytes | bool | float | StandIn | None):
            raise pickle.UnpicklingError(f'a key that is neither text nor a small number: a {type(item).__name__}')
    return value
