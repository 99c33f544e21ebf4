"""Files of ``torch.save`` opened without ``torch.load``: structure as inert data, tensors on demand.

Both forms: zip archives, and the plain files that torch wrote before version 1.6.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmcnn.compat import safe_globals
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats import MAX_FILE, SameFile, check_file, first_line, refuse_enormous
from mmcnn.weights.formats.restricted_unpickler import (
    MAX_BYTES,
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

#: Names from which torch builds data in any file, and those in a training checkpoint.
PLAIN = DTYPES.keys() | {
    *('collections.OrderedDict', '_codecs.encode', 'builtins.set', 'builtins.complex', 'builtins.bytearray'),
    *('torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter', 'torch.Size', 'torch.device'),
}
#: How a pickle accesses an attribute; MMEngine's HistoryBuffer names its statistics this way.
GETATTR, HISTORY_BUFFER = 'builtins.getattr', 'mmengine.logging.history_buffer.HistoryBuffer'
#: Header of a member of an archive: signature, 22 bytes, lengths of the name and of the extra field.
_LOCAL_HEADER = struct.Struct('<4s22xHH')


@dataclass(frozen=True, slots=True)
class StoredStorage:
    """A contiguous range of numbers in the file."""

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the file that has not been read but is known to be inside its storage."""

    storage: StoredStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.size)


class TorchFileError(pickle.UnpicklingError):
    """A file with a false description of its content."""


class TorchFile:
    """A file of ``torch.save``, checked completely: every tensor is in its storage and every storage in the file.

    Attributes:
        same: the file, which can be opened again as long as it has not changed.
        content: what was saved, as containers, :class:`StoredTensor` and
            :class:`~mmcnn.weights.formats.restricted_unpickler.StandIn`.
        names: names of the classes and functions in its pickle.

    Raises:
        TorchFileError: the file's description of its content is false.
        pickle.UnpicklingError, zipfile.BadZipFile, OSError: it is damaged or of another format. A plain pickle counts
            as a file without tensors.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._storages: dict[str, StoredStorage] = {}
        self._positions: dict[str, int] = {}  # position of the bytes of each storage that has any
        self._members: dict[str, zipfile.ZipInfo] | None = None  # members of an archive, by the keys of the storages
        self._misused: list[str] = []
        with self.path.open('rb') as file:
            self.same = SameFile(self.path, file)
            unpickler = self._open_archive(file) if is_archive(file) else self._open_plain(file)
        self.names: list[str] = unpickler.names
        self._calls = unpickler.calls

    def foreign(self) -> list[str]:
        """Names in the file that are not known to be plain data: torch rejects most of them, or may run them.

        The misused ones come first, then the others in the order of the file. MMEngine's own types are known
        (:mod:`mmcnn.compat.safe_globals`), and so is everything else on torch's list.
        """
        known = PLAIN | safe_globals.names()
        return self._misused + [name for name in (*self.names, *self._calls) if name not in known]

    def overlap(self, wanted: Iterable[StoredTensor]) -> StoredStorage | None:
        """Return a storage that different tensors share: together these could be many times as large as the file."""
        needed: dict[StoredStorage, int] = {}
        for stored in set(wanted):
            needed[stored.storage] = needed.get(stored.storage, 0) + stored.numel
        return next((storage for storage, numel in needed.items() if numel > storage.numel), None)

    def tensors(self, wanted: Mapping[str, StoredTensor], checksums: bool = True) -> dict[str, Tensor]:
        """Read tensors unchanged; equal entries give the same tensor.

        Args:
            wanted: any of those in ``content``.
            checksums: whether to verify the storages of an archive against its checksums.

        Raises:
            TorchFileError: they cannot be read, or overlap, so that they could be many times as large as the file.
            CheckpointError: the file has changed.
        """
        if storage := self.overlap(wanted.values()):
            raise TorchFileError(f'tensors overlap in its storage {storage.key!r:.40}')
        with self.same.open() as file:
            storages = dict.fromkeys(stored.storage for stored in wanted.values())
            numbers = {storage: self._numbers(file, storage, checksums) for storage in storages}
        read = {stored: numbers[stored.storage] for stored in wanted.values()}
        read = {stored: flat.as_strided(stored.size, stored.stride, stored.offset) for stored, flat in read.items()}
        return {name: read[stored] for name, stored in wanted.items()}

    def _numbers(self, file: BinaryIO, storage: StoredStorage, checksums: bool) -> Tensor:
        """Return the numbers of a storage in separate memory, since the file may change or vanish later."""
        data = torch.empty(storage.nbytes, dtype=torch.uint8)
        try:
            member = self._members[storage.key] if self._members is not None and storage.nbytes else None
            file.seek(self._positions.get(storage.key, 0))
            if file.readinto(data.numpy()) < storage.nbytes:
                raise EOFError('the file has become shorter')
            if member is not None and checksums and zlib.crc32(data.numpy()) != member.CRC:
                raise zipfile.BadZipFile('bad CRC-32')
        except Exception as error:  # whatever goes wrong in a file that changes while it is read
            raise TorchFileError(f'its storage {storage.key!r:.40} cannot be read ({error})') from error
        return data.view(storage.dtype)

    # ------------------------------------------------------------------------------------------------------ opening

    def _open_archive(self, file: BinaryIO) -> RestrictedUnpickler:
        size = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(file) as archive:
            check_archive(archive, size)
            entry = next((name for name in archive.namelist() if name.endswith(PICKLE)), None)
            if entry is None:
                raise pickle.UnpicklingError(f'an archive without {PICKLE}')
            data = archive.read(entry)
            folder = f'{entry.removesuffix(PICKLE)}data/'
            members = {info.filename: info for info in archive.infolist()}
        unpickler = self._unpickler(BoundedReader(io.BytesIO(data), len(data)))
        self.content = unpickler.load()
        self._members = {}
        for key, storage in self._storages.items():
            member = members.get(folder + key)
            self._compare(storage, member.file_size if member else 0)
            if storage.nbytes:
                self._members[key] = member
                self._positions[key] = _data_of(file, member)
                self._compare(storage, min(storage.nbytes, max(0, size - self._positions[key])))
        return unpickler

    def _open_plain(self, file: BinaryIO) -> RestrictedUnpickler:
        size = os.fstat(file.fileno()).st_size
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
            raise TorchFileError('its list of storages does not match its tensors')
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
            raise TorchFileError(f'its storage {storage.key!r:.40} is truncated: {there} of {storage.nbytes} bytes')
        if storage.nbytes < there:
            raise TorchFileError(
                f'its storage {storage.key!r:.40} has {there} bytes, but its tensors need {storage.nbytes}'
            )

    def _unpickler(self, reader: BoundedReader) -> RestrictedUnpickler:
        builders = {
            'torch._utils._rebuild_tensor': _tensor,
            'torch._utils._rebuild_tensor_v2': _tensor,
            'torch._utils._rebuild_parameter': lambda data, *_: data,
            GETATTR: self._statistic,
        }
        return RestrictedUnpickler(reader, builders, self._persistent)

    def _statistic(self, *arguments: Any) -> StandIn:
        """Return a statistic of a HistoryBuffer by its name; nothing else is allowed."""
        match arguments:
            case StandIn(name=name, args=None), str(statistic) if name == HISTORY_BUFFER:
                if statistic in safe_globals.STATISTICS:
                    return StandIn(f'{HISTORY_BUFFER}.{statistic}')
        self._misused.append(GETATTR)
        return StandIn(GETATTR, arguments)

    def _persistent(self, identity: Any) -> StoredStorage | StandIn:
        """Return what torch stores outside the pickle: ``('storage', torch.FloatStorage, '0', 'cpu', numel)``.

        Plain files also name the classes of modules in this way, with their source text.
        """
        if type(identity) is tuple and identity[0] == 'module' and type(identity[1]) is StandIn:
            return identity[1]
        if type(identity) is not tuple or identity[0] != 'storage' or identity[5:] not in ((), (None,)):
            raise TorchFileError('it refers to something that is not a storage')
        _, kind, key, _, numel = identity[:5]
        if type(kind) is not StandIn or kind.name not in DTYPES or type(key) is not str or not _is_count(numel):
            raise TorchFileError('it refers to a storage of an unknown kind')
        storage = StoredStorage(key, DTYPES[kind.name], numel)
        if self._storages.setdefault(key, storage) != storage:
            raise TorchFileError(f'its storage {key!r:.40} has two different descriptions')
        return storage


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> StoredTensor | StandIn:
    """Replace torch's function that makes a tensor from a storage, and verify every argument."""
    if type(storage) is StandIn:  # a plain pickle contains whole files of torch
        return storage
    if type(storage) is not StoredStorage or type(size) is not tuple or type(stride) is not tuple:
        raise TorchFileError('it has a tensor without a storage, sizes or strides')
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise TorchFileError(f'it has a tensor of {len(size)} dimensions and {len(stride)} strides')
    if not all(map(_is_count, (offset, *size, *stride))):
        raise TorchFileError('it has a tensor with an invalid offset, size or stride')
    if len(more) > 2 and more[2]:  # bits of a conjugated or a negated tensor
        return StandIn('torch._utils._rebuild_tensor_v2', (storage, offset, size, stride, *more))
    tensor = StoredTensor(storage, offset, size, stride)
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if tensor.numel > storage.numel or (tensor.numel and last >= storage.numel):
        raise TorchFileError(f'it has a tensor that reaches beyond its storage of {storage.numel} numbers')
    return tensor


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number <= MAX_FILE


def is_archive(file: BinaryIO) -> bool:
    """Return whether a file is one of torch's zip archives, detected as torch does; the position stays."""
    position = file.tell()
    head = file.read(4)
    file.seek(position)
    return head == b'PK\x03\x04'


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Compare an archive's directory with the file of ``size`` bytes, before a member is read.

    Raises:
        TorchFileError: compressed members, more bytes than the file has, the other byte order, ...
    """
    members, names = archive.infolist(), archive.namelist()
    if packed := [each for each in members if each.compress_type != zipfile.ZIP_STORED]:
        unpacked = sum(each.file_size for each in packed)
        raise TorchFileError(f'its members are compressed ({unpacked} bytes unpacked), which torch never does')
    if sum(each.compress_size for each in members) > size or any(
        each.compress_size != each.file_size for each in members
    ):
        raise TorchFileError('its directory declares more bytes than the file has')
    if len(set(names)) != len(names) or sum(name.endswith(PICKLE) for name in names) > 1:
        raise TorchFileError('two of its members have the same name')
    if any(each.flag_bits & 1 for each in members):
        raise TorchFileError('its members are encrypted')
    for each in members:
        if each.filename.endswith(PICKLE) and each.file_size > MAX_BYTES:
            raise TorchFileError(f'its pickle without the tensors has {each.file_size} bytes, which is too large')
        if each.filename.endswith('byteorder'):
            with archive.open(each) as member:
                if member.read(8) != sys.byteorder.encode():
                    raise TorchFileError(f'its numbers are not {sys.byteorder}-endian')


def _data_of(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return where the bytes of a stored member begin, after its own header, which is checked for damage."""
    file.seek(member.header_offset)
    head = file.read(_LOCAL_HEADER.size).ljust(_LOCAL_HEADER.size, b'\0')
    signature, name, extra = _LOCAL_HEADER.unpack(head)
    encoding = 'utf-8' if member.flag_bits & 0x800 else 'cp437'
    if signature != b'PK\x03\x04' or file.read(name) != member.orig_filename.encode(encoding):
        raise TorchFileError(f'the header of {member.filename!r:.60} in it is damaged')
    return member.header_offset + _LOCAL_HEADER.size + name + extra


def open_inert(path: Path) -> TorchFile:
    """Check a file of ``torch.save`` without building what it asks for.

    Raises:
        CheckpointError: The file is missing, empty, truncated, damaged, or declares false sizes.
    """
    check_file(path)
    refuse_enormous(path)
    try:
        return TorchFile(path)
    except PermissionError as error:
        raise CheckpointError(f'{path} cannot be read: permission denied') from error
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} no longer exists') from error
    except TorchFileError as error:
        raise CheckpointError(f'{path} was rejected: {error}') from error
    except Exception as error:  # whatever a damaged file causes in zipfile
        if (line := first_line(path)) is not None:
            raise CheckpointError(f'{path} is a text file, not a checkpoint; it begins with {line!r}') from error
        with path.open('rb') as file:
            if file.read(2) == b'PK' and not zipfile.is_zipfile(file):
                raise CheckpointError(f'{path} is truncated: the end of the file is missing') from error
        reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint: it is damaged or of another format ({reason})'
        ) from error
