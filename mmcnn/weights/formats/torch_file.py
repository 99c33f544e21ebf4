"""Files of ``torch.save`` opened without ``torch.load``: structure as inert data, tensors where they are wanted.

Both forms: zip archives, and the plain files that torch wrote before version 1.6.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import pickle
import pickletools
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.weights.formats.files import MAX_FILE, check_file, first_line, refuse_enormous
from mmcnn.weights.formats.restricted_unpickler import (
    MAX_BYTES,
    MAX_OPERATIONS,
    BoundedReader,
    RestrictedUnpickler,
    StandIn,
)

#: First pickle of a file in the form before zip archives.
MAGIC = 0x1950A86A20F9469CFC6C
MAX_DIMENSIONS = 8
PICKLE = 'data.pkl'
DTYPES = {
    f'torch.{name}Storage': dtype
    for name, dtype in (
        ('Float', torch.float32),
        ('Half', torch.float16),
        ('BFloat16', torch.bfloat16),
        ('Double', torch.float64),
        ('Long', torch.int64),
        ('Int', torch.int32),
        ('Short', torch.int16),
        ('Char', torch.int8),
        ('Byte', torch.uint8),
        ('Bool', torch.bool),
        ('ComplexFloat', torch.complex64),
        ('ComplexDouble', torch.complex128),
    )
} | {'torch.storage.UntypedStorage': torch.uint8}

# How torch's safe unpickler words a refusal: a global that is not on its list, or a use of one that is.
REFUSED = re.compile(
    r'GLOBAL (\w+(?:\.\w+)*)(?= |:)|unrecognized function (.+?)(?: which|$)|`add_safe_globals`,? but got (.+)$',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class StoredStorage:
    """A run of numbers in the file."""

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of the file, not read yet; it is known to lie inside its storage."""

    storage: StoredStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.size)


class TorchFileError(pickle.UnpicklingError):
    """A file that says other things about itself than what it is."""


class TorchFile:
    """A file of ``torch.save``, checked as a whole: every tensor lies in its storage and every storage in the file.

    Attributes:
        content: what was saved, made of containers, :class:`StoredTensor` and
            :class:`~mmcnn.weights.formats.restricted_unpickler.StandIn`.
        names: of the classes and functions that its pickle names.

    Raises:
        TorchFileError: the file lies about itself.
        pickle.UnpicklingError, zipfile.BadZipFile, OSError: it is damaged or of another kind. A plain pickle is a file
            without tensors.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._storages: dict[str, StoredStorage] = {}
        self._positions: dict[str, int] = {}  # of the storages in a plain file
        self._prefix: str | None = None  # of the members of an archive
        check_archive(self.path)
        with self.path.open('rb') as file:
            unpickler = self._open_archive(file) if is_archive(file) else self._open_plain(file)
        self.names: list[str] = unpickler.names

    def tensors(self, wanted: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Reads tensors, as they are in the file; equal entries give the same tensor.

        Raises:
            TorchFileError: they cannot be read, or share numbers, so that they could be many times the file's size.
        """
        needed: dict[StoredStorage, int] = {}
        for stored in set(wanted.values()):
            needed[stored.storage] = needed.get(stored.storage, 0) + stored.numel
        for storage, numel in needed.items():
            if numel > storage.numel:
                raise TorchFileError(f'tensors overlap in its storage {storage.key!r:.40}')
        with self.path.open('rb') as file:
            numbers = dict(self._numbers(file, needed))
        read = {stored: numbers[stored.storage] for stored in wanted.values()}
        read = {stored: flat.as_strided(stored.size, stored.stride, stored.offset) for stored, flat in read.items()}
        return {name: read[stored] for name, stored in wanted.items()}

    def _numbers(self, file: BinaryIO, storages: Iterable[StoredStorage]) -> Iterator[tuple[StoredStorage, Tensor]]:
        archive = None if self._prefix is None else zipfile.ZipFile(file)
        for storage in storages:
            try:
                if archive is not None:
                    data = archive.read(f'{self._prefix}data/{storage.key}')
                else:
                    file.seek(self._positions[storage.key])
                    data = file.read(storage.nbytes)
            except Exception as error:  # whatever a damaged file provokes in zipfile
                raise TorchFileError(f'its storage {storage.key!r:.40} cannot be read ({error})') from error
            empty = torch.empty(0, dtype=storage.dtype)  # of which there may be no buffer
            yield storage, torch.frombuffer(bytearray(data), dtype=storage.dtype) if data else empty

    # ------------------------------------------------------------------------------------------------------ opening

    def _open_archive(self, file: BinaryIO) -> RestrictedUnpickler:
        with zipfile.ZipFile(file) as archive:
            entry = next((name for name in archive.namelist() if name.endswith(PICKLE)), None)
            if entry is None:
                raise pickle.UnpicklingError(f'an archive without {PICKLE}')
            data = archive.read(entry)
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        self._prefix = entry.removesuffix(PICKLE)
        unpickler = self._unpickler(BoundedReader(io.BytesIO(data), len(data)))
        self.content = unpickler.load()
        for storage in self._storages.values():
            self._compare(storage, sizes.get(f'{self._prefix}data/{storage.key}', 0))
        return unpickler

    def _open_plain(self, file: BinaryIO) -> RestrictedUnpickler:
        size = self.path.stat().st_size
        reader = BoundedReader(file, size)
        unpickler = self._unpickler(reader)
        self.content = unpickler.load()
        if self.content != MAGIC:
            return unpickler
        self._unpickler(reader).load()  # the version of the form
        system = self._unpickler(reader).load()
        if not isinstance(system, dict) or system.get('little_endian') is not (sys.byteorder == 'little'):
            raise TorchFileError(f'its numbers are not {sys.byteorder}-endian')
        unpickler = self._unpickler(reader)
        self.content = unpickler.load()
        keys = self._unpickler(reader).load()
        texts = type(keys) is list and all(type(key) is str for key in keys)
        if not texts or sorted(keys) != sorted(self._storages):
            raise TorchFileError('its list of storages is not that of its tensors')
        for key in keys:
            storage, numel = self._storages[key], int.from_bytes(file.read(8), sys.byteorder)
            self._positions[key] = file.tell()
            there = min(numel * storage.dtype.itemsize, size - file.tell())
            self._compare(storage, there)
            file.seek(there, io.SEEK_CUR)
        return unpickler

    @staticmethod
    def _compare(storage: StoredStorage, there: int) -> None:
        if storage.nbytes > there:
            raise TorchFileError(f'its storage {storage.key!r:.40} is cut short: {there} bytes of {storage.nbytes}')
        if storage.nbytes < there:
            raise TorchFileError(f'its storage {storage.key!r:.40} has {there} bytes, its tensors {storage.nbytes}')

    def _unpickler(self, reader: BoundedReader) -> RestrictedUnpickler:
        builders = {
            'torch._utils._rebuild_tensor': _tensor,
            'torch._utils._rebuild_tensor_v2': _tensor,
            'torch._utils._rebuild_parameter': lambda data, *_: data,
        }
        return RestrictedUnpickler(reader, builders, self._persistent)

    def _persistent(self, identity: Any) -> StoredStorage | StandIn:
        """What torch keeps beside the pickle: ``('storage', torch.FloatStorage, '0', 'cpu', numel)``.

        Plain files also name the classes of modules in this way, with their source text.
        """
        if type(identity) is tuple and identity[0] == 'module' and type(identity[1]) is StandIn:
            return identity[1]
        if type(identity) is not tuple or identity[0] != 'storage' or identity[5:] not in ((), (None,)):
            raise TorchFileError('it refers to something that is no storage')
        _, kind, key, _, numel = identity[:5]
        if type(kind) is not StandIn or kind.name not in DTYPES or type(key) is not str or not _is_count(numel):
            raise TorchFileError('it refers to a storage of an unknown kind')
        storage = StoredStorage(key, DTYPES[kind.name], numel)
        if self._storages.setdefault(key, storage) != storage:
            raise TorchFileError(f'its storage {key!r:.40} is described in two ways')
        return storage


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor | StandIn:
    """Stands in for torch's function that makes a tensor of a storage, and believes nothing."""
    if type(storage) is StandIn:  # a plain pickle has whole files of torch inside
        return storage
    if type(storage) is not StoredStorage or type(size) is not tuple or type(stride) is not tuple:
        raise TorchFileError('it has a tensor without a storage, sizes or strides')
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise TorchFileError(f'it has a tensor of {len(size)} dimensions and {len(stride)} strides')
    if not all(map(_is_count, (offset, *size, *stride))):
        raise TorchFileError('it has a tensor with an offset, a size or a stride that is none')
    tensor = StoredTensor(storage, offset, size, stride)
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if tensor.numel > storage.numel or (tensor.numel and last >= storage.numel):
        raise TorchFileError(f'it has a tensor that reaches beyond its storage of {storage.numel} numbers')
    return tensor


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number <= MAX_FILE


def is_archive(file: BinaryIO) -> bool:
    """Whether a file is one of torch's zip archives, told as torch does; the position stays."""
    position = file.tell()
    head = file.read(4)
    file.seek(position)
    return head == b'PK\x03\x04'


def check_archive(path: Path) -> None:
    """Compares what an archive's directory promises with the file, before a member is read; passes other files.

    Raises:
        TorchFileError: compressed members, more bytes than the file has, the other byte order, ...
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        if not is_archive(file):
            return
        with zipfile.ZipFile(file) as archive:
            members, names = archive.infolist(), archive.namelist()
            if packed := [each for each in members if each.compress_type != zipfile.ZIP_STORED]:
                unpacked = sum(each.file_size for each in packed)
                raise TorchFileError(f'its members are compressed ({unpacked} bytes unpacked), which torch never does')
            if sum(each.compress_size for each in members) > size or any(
                each.compress_size != each.file_size for each in members
            ):
                raise TorchFileError('its directory promises more bytes than the file has')
            if len(set(names)) != len(names) or sum(name.endswith(PICKLE) for name in names) > 1:
                raise TorchFileError('two of its members have one name')
            if any(each.flag_bits & 1 for each in members):
                raise TorchFileError('its members are encrypted')
            for each in members:
                if each.filename.endswith(PICKLE) and each.file_size > MAX_BYTES:
                    raise TorchFileError(f'its pickle has {each.file_size} bytes without any tensor')
                if each.filename.endswith('byteorder'):
                    with archive.open(each) as member:
                        if member.read(8) != sys.byteorder.encode():
                            raise TorchFileError(f'its numbers are not {sys.byteorder}-endian')


def open_inert(path: Path) -> TorchFile:
    """Look through a file of ``torch.save`` without building what it asks for.

    Raises:
        CheckpointError: The file is missing, empty, cut short, damaged, or lies about its sizes.
    """
    check_file(path)
    refuse_enormous(path)
    try:
        return TorchFile(path)
    except TorchFileError as error:
        raise CheckpointError(f'{path} is refused: {error}') from error
    except Exception as error:  # whatever a damaged file provokes in zipfile
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Why torch could not read a file, in one sentence."""
    if isinstance(error, PermissionError):
        return CheckpointError(f'{path} may not be read by this user')
    globals_named = pickled_globals(path)
    if globals_named is None and (line := first_line(path)) is not None:
        return CheckpointError(f'{path} is a text file, not a checkpoint; it begins with {line!r}')
    if name := _refused_name(error, globals_named):
        return CheckpointError(
            f'{path} is refused: it asks for `{name}`, which is no plain data and could run code; nothing was run'
        )
    with path.open('rb') as file:
        if file.read(2) == b'PK' and not zipfile.is_zipfile(file):
            return CheckpointError(f'{path} is cut short: the end of the file is missing')
    # torch wraps its reasons in pages of advice, some of it to switch the safety off.
    reason = re.split(r'\.\s|\n', str(error).rpartition('WeightsUnpickler error:')[2].strip())[0]
    return CheckpointError(
        f'{path} cannot be read as a checkpoint, it is damaged or of another kind ({type(error).__name__}: {reason})'
    )


def _refused_name(error: Exception, globals_named: list[str] | None) -> str | None:
    """What a pickle asked for and did not get."""
    if not isinstance(error, pickle.UnpicklingError):
        return None
    if wanted := REFUSED.search(str(error)):
        name = next(filter(None, wanted.groups()))
        return name if '.' in name or ' ' in name else f'builtins.{name}'  # torch leaves this module's name out
    # torch gives up at the first byte of a newer protocol, before it meets the name.
    if 'Unsupported operand' in str(error) and globals_named:
        return globals_named[0]
    return None


def pickled_globals(path: Path) -> list[str] | None:
    """Names that the first pickle in a file would import, found without running it; None if it holds no whole one."""
    names, strings = [], []
    try:
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(path.open('rb'))
            if is_archive(stream):
                archive = stack.enter_context(zipfile.ZipFile(stream))
                entry = next(name for name in archive.namelist() if name.endswith('data.pkl'))
                stream = stack.enter_context(archive.open(entry))
            stream = BoundedReader(stream, path.stat().st_size)
            for opcode, argument, _ in itertools.islice(pickletools.genops(stream), MAX_OPERATIONS):
                if opcode.name == 'GLOBAL':
                    module, name = argument.split(' ', 1)
                    names.append(f'{"builtins" if module == "__builtin__" else module}.{name}')
                elif opcode.name == 'STACK_GLOBAL':
                    names.append('.'.join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except Exception:  # whatever a damaged file provokes in zipfile or pickletools: it holds no pickle to speak of
        return None
    return names
