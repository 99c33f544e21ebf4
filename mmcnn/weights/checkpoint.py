"""Checkpoints read as data: nothing in a file runs."""

import contextlib
import difflib
import itertools
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.weights.report import NAMED_KEYS

from .restricted_unpickler import MAX_OPERATIONS, BoundedReader
from .torch_file import MAX_FILE, TorchFile, TorchFileError, is_archive

# How torch's safe unpickler words a refusal: a global that is not on its list, or a use of one that is.
REFUSED = re.compile(
    r'GLOBAL (\w+(?:\.\w+)*)(?= |:)|unrecognized function (.+?)(?: which|$)|`add_safe_globals`,? but got (.+)$',
    re.MULTILINE,
)


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict:
    """Read a ``.pth`` file as data: with ``torch.load(weights_only=True)``, never otherwise.

    :func:`open_inert` looks through the file first, since a pickle can exhaust the memory or end the process there too.

    Args:
        path: The file.
        map_location: Where tensors go, see ``torch.load``.

    Returns:
        The whole checkpoint, either with a ``state_dict`` among its entries or itself a dict of tensors.

    Raises:
        CheckpointError: The file is missing, empty, cut short or not a checkpoint; lies about its sizes; asks to run
            code (nothing is run); or holds no state dict. One sentence that names the path.
    """
    path = Path(path).expanduser()
    open_inert(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler fail in any way: IndexError, KeyError, struct.error
        raise _unreadable(path, error) from error
    try:
        state_dict_of(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None
    return checkpoint


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
        raise _unreadable(path, error) from error


def state_dict_of(checkpoint: Any) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint.

    Args:
        checkpoint: What :func:`read_checkpoint` returns: a dict with a ``state_dict``, or itself one.

    Returns:
        Name to tensor; ``module.``, which a distributed wrapper puts before every name, is taken away.

    Raises:
        CheckpointError: There is no dict, or none of tensors.
    """
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'a checkpoint is a dict, this is a {type(checkpoint).__name__}')
    state_dict = checkpoint.get('state_dict', checkpoint)
    tensors = isinstance(state_dict, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state_dict.items()
    )
    if not tensors or not state_dict:
        kind = 'has a state_dict that is no dict of tensors' if 'state_dict' in checkpoint else 'has no state_dict'
        raise CheckpointError(
            f'the checkpoint {kind}; its entries: {", ".join(map(str, list(checkpoint)[:NAMED_KEYS]))}'
        )
    prefix = 'module.' if all(key.startswith('module.') for key in state_dict) else ''
    return {key.removeprefix(prefix): value for key, value in state_dict.items()}


def check_file(path: Path) -> None:
    """Raises CheckpointError for what can be told without reading the file: it is not there, or empty."""
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder, not a checkpoint file')
    if not path.is_file():
        if not path.parent.is_dir():
            raise CheckpointError(f'{path} does not exist, nor does its folder')
        others = [other.name for other in path.parent.iterdir() if other.suffix == path.suffix]
        others.sort(key=lambda name: -difflib.SequenceMatcher(None, path.name, name).ratio())
        nearest = f'; in its folder there is {", ".join(others[:NAMED_KEYS])}' if others else ''
        raise CheckpointError(f'{path} does not exist{nearest}')
    if path.stat().st_size == 0:
        raise CheckpointError(f'{path} is empty')


def refuse_enormous(path: Path) -> None:
    """Raises CheckpointError for a file whose reading could take all memory, whatever it says of its contents."""
    gib = path.stat().st_size / 2**30
    if gib > MAX_FILE / 2**30:
        raise CheckpointError(f'{path} is refused: it has {gib:.0f} GiB, more than any file of these networks')


def _unreadable(path: Path, error: Exception) -> CheckpointError:
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


def first_line(path: Path) -> str | None:
    """The first line of what looks like a text file (at most 60 characters), else None."""
    with path.open('rb') as file:
        head = file.read(200)
    line = head.decode('utf-8', errors='replace').lstrip('\ufeff').strip().partition('\n')[0].strip()[:60]
    return line if line.isprintable() and '\ufffd' not in line else None
