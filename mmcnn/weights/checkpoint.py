"""Files of weights, opened once and read as data: no code in a file is executed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mmcnn.compat.moved import moved_names, renamed_attribute
from mmcnn.errors import CheckpointError
from mmcnn.exported_file import reader_of
from mmcnn.weights.entries import WRAPPERS, states_in, weights_in, without_wrappers
from mmcnn.weights.formats import SameFile, check_file
from mmcnn.weights.formats.darknet_file import is_darknet
from mmcnn.weights.formats.keras_file import read_keras
from mmcnn.weights.formats.restricted_unpickler import StandIn
from mmcnn.weights.formats.safetensors_file import is_safetensors, read_safetensors
from mmcnn.weights.formats.torch_file import StoredStorage, StoredTensor, TorchFile, TorchFileError, open_inert
from mmcnn.weights.formats.ultralytics_file import UltralyticsFile, is_ultralytics, read_ultralytics
from mmcnn.weights.record import KEY, Record, digest, from_json, record_of
from mmcnn.weights.recorded_config import recorded_config, recorded_entries, refuse_code_in_meta

__getattr__ = moved_names(__name__)

#: Entry in the metadata of a safetensors file: the class names, as a JSON list.
CLASSES = 'classes'
#: Another entry: the config of a detector, as text; in a checkpoint it is ``meta['cfg']``.
CONFIG = 'mmcnn.config'
_HDF5 = b'\x89HDF\r\n\x1a\n'


class Checkpoint:
    """A file of weights of any kind; its format is detected from its content, and no code in it is executed.

    ``Checkpoint.open('best.pth').state_dict``. A PyTorch file is checked completely when it is opened; everything else
    is read once, on first access. Every attribute raises CheckpointError if the file is broken, unsafe or has changed.

    Attributes:
        path: the file.
        format: 'pytorch', 'safetensors', 'keras', 'darknet' or 'ultralytics'.
    """

    def __init__(self, same: SameFile, format: str, file: TorchFile | None = None) -> None:
        self.path = same.path
        self.format = format
        self._same = same
        if file is not None:
            self._file = file

    @staticmethod
    def open(path: str | Path) -> Checkpoint:
        """Open a file. Its format is 'pytorch' if it is none of the other formats.

        Raises:
            CheckpointError: the file is missing, empty or an exported network; or it is a PyTorch file that is
                truncated or damaged, declares false sizes or asks to run code (nothing is run). The message is one
                sentence with the path.
        """
        path = Path(path).expanduser()
        check_file(path)
        if reader := reader_of(path):
            raise CheckpointError(f'{path} is an exported network, not a file of weights; open it with {reader}')
        try:
            with path.open('rb') as file:
                head, size, same = file.read(64), os.fstat(file.fileno()).st_size, SameFile(path, file)
        except PermissionError as error:
            raise CheckpointError(f'{path} cannot be read: permission denied') from error
        if head.startswith(_HDF5):
            return Checkpoint(same, 'keras')
        if is_safetensors(head, size):
            return Checkpoint(same, 'safetensors')
        if not head.startswith((b'PK', b'\x80')) and is_darknet(head, size):
            return Checkpoint(same, 'darknet')
        try:
            file = open_inert(path)
        except CheckpointError:
            if head.startswith(b'PK') and _is_keras_archive(path):
                return Checkpoint(same, 'keras')
            raise
        if is_ultralytics(file.names):
            return Checkpoint(file.same, 'ultralytics', file)
        checkpoint = Checkpoint(file.same, 'pytorch', file)
        if file.foreign():
            checkpoint.content  # noqa: B018  torch decides about what is unknown here
        return checkpoint

    @cached_property
    def state_dict(self) -> dict[str, Tensor]:
        """The tensors under the file's own names, without what PyTorch's wrappers add to them (see :attr:`notes`).

        The weights of a training state are those of ``state_dict``, ``model`` or another entry, see
        :func:`~mmcnn.weights.entries.weights_in`. Empty for Darknet files, whose stream has no meaning without a
        network.
        """
        if self.format == 'darknet':
            return {}
        if self.format == 'keras':
            with self.unchanged() as path:
                return read_keras(path)
        if self.format == 'safetensors':
            return self._safetensors[0]
        if self.tree is not None:
            return self.tree.state
        stored = self._stored_state()
        if stored is None or 'content' in self.__dict__:
            content = self.content
            try:
                return state_dict_of(content)
            except CheckpointError as error:
                raise CheckpointError(f'{self.path}: {error}') from None
        try:
            # As in torch.load, which does not verify the checksums either.
            return without_wrappers(self._file.tensors(stored, checksums=False))[0]
        except (OSError, TorchFileError) as error:
            raise CheckpointError(f'{self.path} was rejected: {error}') from error

    @cached_property
    def content(self) -> dict:
        """The whole checkpoint, as ``torch.load(weights_only=True)`` builds it; empty for the other formats."""
        if self.format not in ('pytorch', 'ultralytics'):
            return {}
        return _load(self._file, 'cpu')

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """How the content differs from what is stored, one phrase each: an entry, wrappers, half precision."""
        notes = []
        if self.format == 'pytorch':
            content = self._file.content
            if isinstance(content, StandIn):
                content = self.content
            entry, state = self._weights(content, Tensor | StoredTensor | StandIn)
            if entry not in ('', 'state_dict'):
                others = [name for name in states_in(content, Tensor | StoredTensor | StandIn) if name != entry]
                rest = f', {" and ".join(map(repr, others))} was not' if others else ''
                notes.append(f"its entry '{entry}' was used{rest}")
            if taken := without_wrappers(state)[1]:
                notes.append(f'{" and ".join(taken)} removed from the names')
        narrow = {value.dtype for value in self.state_dict.values() if value.is_floating_point()} - {torch.float32}
        if narrow:
            kinds = ' and '.join(sorted(str(dtype).removeprefix('torch.') for dtype in narrow))
            notes.append(f'stored as {kinds}, used as float32')
        return tuple(notes)

    @cached_property
    def meta(self) -> dict:
        """What a run or a conversion recorded next to the weights; empty if nothing."""
        if self.format == 'safetensors':
            metadata = self._safetensors[1]
            return {'cfg': metadata[CONFIG]} if CONFIG in metadata else {}
        content = self._file.content if self._file is not None else None
        meta = content.get('meta') if isinstance(content, dict) else None
        if isinstance(meta, StoredTensor):  # an entry of a bare state dict
            return {}
        if meta is not None and not _is_plain(meta):
            meta = self.content['meta']
        return meta if isinstance(meta, dict) else {}

    @property
    def config(self) -> Config:
        """The config that the run recorded, parsed on each access; see :mod:`mmcnn.weights.recorded_config`."""
        return recorded_config({'meta': self.meta}, str(self.path))

    @property
    def entries(self) -> Config:
        """The same config for reading only, whatever its types are; it must not be built. Empty if there is none."""
        return recorded_entries({'meta': self.meta})

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names recorded by a run or a conversion, or in YOLOv5's modules; empty if the file has none."""
        if self.tree is not None:
            return self.tree.classes
        if self.format == 'safetensors':
            return _names_in(self._safetensors[1].get(CLASSES, '[]'))
        return classes_in(self.meta)

    @cached_property
    def record(self) -> Record | None:
        """The record about the weights that a conversion or one of our runs wrote."""
        if self.format == 'safetensors':
            metadata = self._safetensors[1]
            return from_json(metadata[KEY], self.path) if KEY in metadata else None
        return record_of({'state_dict': {}, 'meta': self.meta}, self.path) if self.meta else None

    @cached_property
    def tree(self) -> UltralyticsFile | None:
        """The content of an ultralytics file, with the attributes of its pickled modules."""
        return read_ultralytics(self._file) if self.format == 'ultralytics' else None

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, which is read for it."""
        with self.unchanged() as path:
            return digest(path)

    def unchanged(self) -> contextlib.AbstractContextManager[Path]:
        """Yield the path for code that reads it itself; raise CheckpointError if the file has changed since opening."""
        return self._same.unchanged()

    def refuse_unresumable(self) -> None:
        """Raise CheckpointError if a run cannot be resumed from it: no weights, only weights, or code in ``meta``."""
        content = None
        if self._file is not None:
            content = self.content if isinstance(self._file.content, StandIn) else self._file.content
            # A stand-in may become a tensor of an unusual kind; refuse_unbuildable() finds out.
            self._weights(content, Tensor | StoredTensor | StandIn)
        if not isinstance(content, dict) or 'optimizer' not in content or 'meta' not in content:
            raise CheckpointError(f'{self.path} holds only weights and no optimizer state: use load_from={self.path}')
        refuse_code_in_meta({'meta': self.meta}, str(self.path))
        # MMEngine reads 'state_dict', removes 'module.' itself, and ignores what then does not fit.
        names = content.get('state_dict', {})
        if not names or any(part in WRAPPERS for name in names for part in name.split('.')):
            raise CheckpointError(
                f'{self.path} was written by another program ({"; ".join(self.notes)}), and only checkpoints of '
                f'mmcnn or MMEngine can be resumed: start from it with load_from={self.path}'
            )

    def refuse_unbuildable(self) -> None:
        """Raise CheckpointError for defects that only torch finds; it builds everything except the tensors' values."""
        if self._file is None:
            return
        try:
            content = self.__dict__.get('content') or _load(self._file, 'meta')
        except CheckpointError:  # torch cannot build it without the values either
            content = self.content
        self._weights(content, Tensor)

    def release(self) -> None:
        """Release everything except ``meta``, if that was read; a later access reads the file again."""
        for part in ('state_dict', 'notes', 'content', 'tree', '_safetensors', '_file'):
            self.__dict__.pop(part, None)

    state = renamed_attribute('state', 'state_dict')

    @cached_property
    def _file(self) -> TorchFile | None:
        """The checked file, which :meth:`open` sets and :meth:`release` drops."""
        if self.format not in ('pytorch', 'ultralytics'):
            return None
        with self.unchanged() as path:
            return open_inert(path)

    @cached_property
    def _safetensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        with self.unchanged() as path:
            return read_safetensors(path)

    def _weights(self, content: Any, kind: type | UnionType) -> tuple[str, Mapping[str, Any]]:
        """Return the entry of the weights and its state dict, whose values must be of this kind."""
        try:
            return weights_in(content, kind)
        except CheckpointError as error:
            raise CheckpointError(f'{self.path}: {error}') from None

    def _stored_state(self) -> dict[str, StoredTensor] | None:
        """Return the state dict of a file of plain tensors with separate storages; None: torch has to load it."""
        try:
            state = weights_in(self._file.content, StoredTensor)[1]
        except CheckpointError:
            return None
        return state if isinstance(state, dict) and self._file.overlap(state.values()) is None else None


def classes_in(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in a checkpoint's ``meta`` (MMDetection 2 has ``CLASSES``); empty if there are none."""
    recorded = meta.get('dataset_meta') or {}
    classes = recorded.get('classes') or recorded.get('CLASSES') or meta.get('CLASSES') or ()
    return (classes,) if isinstance(classes, str) else tuple(classes)


def _names_in(text: str) -> tuple[str, ...]:
    """Return a list of names in JSON; empty for anything else."""
    with contextlib.suppress(ValueError, RecursionError):
        names = json.loads(text)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict:
    """Read a ``.pth`` file as data: with ``torch.load(weights_only=True)``, never otherwise.

    The file is checked first, since a pickle can exhaust the memory or end the process even then.

    Args:
        path: The file.
        map_location: The device of the tensors, see ``torch.load``.

    Returns:
        The whole checkpoint, either with a ``state_dict`` among its entries or itself a dict of tensors.

    Raises:
        CheckpointError: The file is missing, empty, truncated or not a checkpoint; declares false sizes; asks to
            run code (nothing is run); or holds no state dict. The message is one sentence with the path.
    """
    path = Path(path).expanduser()
    checkpoint = _load(open_inert(path), map_location)
    try:
        state_dict_of(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None
    return checkpoint


def format_of(path: str | Path) -> str:
    """Return the format of a file; 'pytorch' if it is none of the others, is broken or unsafe.

    Raises:
        CheckpointError: the file is missing or empty.
    """
    path = Path(path).expanduser()
    check_file(path)
    with contextlib.suppress(CheckpointError):
        return Checkpoint.open(path).format
    return 'pytorch'


def state_dict_of(checkpoint: Any) -> dict[str, Tensor]:
    """Return the model's tensors in a checkpoint.

    Args:
        checkpoint: What :func:`read_checkpoint` returns: a dict with a ``state_dict`` or another entry that
            :func:`~mmcnn.weights.entries.weights_in` knows, or a state dict.

    Returns:
        Name to tensor, without what PyTorch's wrappers add to the names (``module.``, ``_orig_mod.``).

    Raises:
        CheckpointError: There is no dict, or none of tensors, or several with no indication of which one is meant.
    """
    return without_wrappers(weights_in(checkpoint, Tensor)[1])[0]


def _load(file: TorchFile, map_location: Any) -> Any:
    """Return what torch builds from a file that has been checked."""
    foreign, path = file.foreign(), file.path
    try:
        with file.same.open() as opened:
            return torch.load(opened, map_location=map_location, weights_only=True)
    except CheckpointError:  # the file has changed
        raise
    except Exception as error:  # a damaged file makes the unpickler fail in any way: IndexError, KeyError, struct.error
        if foreign and isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f'{path} was rejected: it asks for `{_refused(foreign)}`, which is not plain data and could run code; '
                'nothing was run'
            ) from error
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint: it is damaged or of another format ({_reason(error)})'
        ) from error


def _refused(foreign: list[str]) -> str:
    """Return the first name that torch does not accept as data, determined by asking it; else the first of all."""
    for name in dict.fromkeys(foreign):
        module, _, attribute = name.rpartition('.')
        if not name.isprintable():
            return name
        naming = b'\x80\x02c' + f'{module}\n{attribute}\n.'.encode(errors='replace')  # calls nothing
        try:
            torch.load(io.BytesIO(naming), weights_only=True)
        except pickle.UnpicklingError:
            return name
        except RuntimeError:  # torch has looked it up, and it is not a checkpoint
            continue
    return foreign[0]


def _reason(error: Exception) -> str:
    """Return torch's reason in one line, without its advice to disable the safety of its unpickler."""
    line = ''.join(str(error).strip().splitlines()[:1])[:200]
    if isinstance(error, pickle.UnpicklingError) or not line or not line.isprintable():
        return f'{type(error).__name__} in torch.load'
    return f'{type(error).__name__}: {line}'


def _is_plain(value: Any) -> bool:
    """Return whether inert content is the actual data: containers of numbers and text, no stand-ins."""
    pending, seen = [value], set()
    while pending:
        each = pending.pop()
        if isinstance(each, StandIn | StoredTensor | StoredStorage):
            return False
        if isinstance(each, dict | list | tuple | set | frozenset) and id(each) not in seen:
            seen.add(id(each))
            pending += each
            pending += each.values() if isinstance(each, dict) else ()
    return True


def _is_keras_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return 'model.weights.h5' in archive.namelist()
    except Exception:  # whatever a damaged file causes in zipfile; the reader reports what is wrong
        return False
