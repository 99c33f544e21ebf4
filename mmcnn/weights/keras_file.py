"""Keras's files of weights: ``.h5`` of every age, ``.weights.h5`` and ``.keras``, read as data.

Two trees are found in them. Old: each layer is a group, whose arrays ``weight_names`` lists; in a whole model the tree
stands under ``model_weights``. New: a layer's group is named after its class (``layers/conv2d_12``), its arrays are
numbered, and its own name is an attribute; where older releases of Keras left that out, only the ``config.json`` of a
``.keras`` archive tells it.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .checkpoint import CheckpointError, check_file, first_line

if TYPE_CHECKING:
    import h5py

#: Bytes that the arrays of one file may take, and its configuration: several times what the largest network needs.
LARGEST, LARGEST_CONFIG = 2**31, 2**24
#: Names that a list may have.
MOST_NAMES = 100_000
#: A compressed array or archive of weights is nearly as large as the weights.
SHRINKS = 100
SIGNATURE = b'\x89HDF\r\n\x1a\n'

#: Class of a layer -> its arrays in the order in which Keras numbers them; a bias may be absent, and so may be gamma.
ARRAYS = {
    'conv2d': ('kernel', 'bias'),
    'dense': ('kernel', 'bias'),
    'depthwise_conv2d': ('depthwise_kernel', 'bias'),
    'separable_conv2d': ('depthwise_kernel', 'pointwise_kernel', 'bias'),
    'batch_normalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'normalization': ('mean', 'variance', 'count'),
}
#: Keras 1's names of arrays; its running_std holds the variance.
OLD_ARRAYS = {'W': 'kernel', 'b': 'bias', 'running_mean': 'moving_mean', 'running_std': 'moving_variance'}
_KNOWN = '|'.join(dict.fromkeys([*(name for names in ARRAYS.values() for name in names), *OLD_ARRAYS]))
# 'kernel', 'conv1/kernel:0', 'model/conv1_1/kernel:0', 'block1_conv1_W_1:0'.
_ARRAY = re.compile(rf'(?:.*?[/_])??({_KNOWN})(?:_\d+)?(?::0)?')

#: Layers that Keras names by itself, as they were called first and are today.
KINDS = {'convolution2d': 'conv2d', 'batchnormalization': 'batch_normalization'}
_AUTOMATIC = re.compile(
    r'(conv2d|convolution2d|batch_normalization|batchnormalization|normalization)(?:_(\d+))?', re.ASCII
)


def read_keras(path: str | Path) -> dict[str, Tensor]:
    """Reads a file that Keras wrote; nothing in it is built or run, and nothing outside it is read.

    Args:
        path: ``.h5``, ``.weights.h5`` or ``.keras``; the content says which it is.

    Returns:
        ``'LAYER.ARRAY'`` (``'block1_conv1.kernel'``) to tensor in Keras's layout, floating point as float32. Layers
        that Keras numbers by itself begin with 0 in each kind, wherever the file begins: ``'conv2d_0.kernel'``.

    Raises:
        CheckpointError: missing, empty, cut short, damaged, larger than 2 GiB, of another kind or with links out of it;
            or h5py is not installed.
    """
    path = Path(path).expanduser()
    check_file(path)
    try:
        import h5py
    except ImportError:
        raise CheckpointError(f'{path} is a Keras file: reading it needs h5py (pip install h5py)') from None
    try:
        with path.open('rb') as file:
            stream, config = _unpacked(file, path) if zipfile.is_zipfile(file) else (file, None)
            stream.seek(0)
            if stream.read(len(SIGNATURE)) != SIGNATURE:
                raise CheckpointError(_no_hdf5(path))
            with h5py.File(stream, 'r') as root:
                return _from_zero(dict(_arrays(root, config)))
    except CheckpointError as error:
        raise CheckpointError(str(error) if str(path) in str(error) else f'{path}: {error}') from None
    except PermissionError:
        raise CheckpointError(f'{path} may not be read by this user') from None
    except Exception as error:  # a damaged file makes h5py and zipfile fail in any way: OSError, KeyError, RuntimeError
        reason = re.split(r'\n|\.\s', str(error))[0]
        raise CheckpointError(
            f'{path} cannot be read as a Keras file, it is cut short or damaged ({type(error).__name__}: {reason})'
        ) from error


def _no_hdf5(path: Path) -> str:
    line = first_line(path)
    begin = '' if line is None else f'; it is a text file that begins with {line!r}'
    return f'{path} is no Keras file: neither HDF5 nor an archive with a model.weights.h5{begin}'


def _unpacked(file: io.BufferedIOBase, path: Path) -> tuple[io.BytesIO, dict]:
    """The weights and the configuration of a ``.keras`` archive."""
    with zipfile.ZipFile(file) as archive:
        if 'model.weights.h5' not in archive.namelist():
            raise CheckpointError(_no_hdf5(path))
        weights = _member(archive, 'model.weights.h5', LARGEST)
        config = json.loads(_member(archive, 'config.json', LARGEST_CONFIG))
    return io.BytesIO(weights), config


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    info = archive.getinfo(name)
    _refuse_oversized(name, info.file_size, info.compress_size, largest)
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise CheckpointError(f'{name} has {len(data)} bytes, not the {info.file_size} that the archive says')
    return data


def _refuse_oversized(name: str, declared: int, stored: int, largest: int) -> None:
    if declared > largest or declared > SHRINKS * max(stored, 1024):
        raise CheckpointError(
            f'{name} says that it has {declared:,} bytes, of which {stored:,} are stored; no network here is that large'
        )


# ----------------------------------------------------------------------------------------------------------- the trees


def _arrays(root: h5py.Group, config: dict | None) -> Iterator[tuple[str, Tensor]]:
    """``'LAYER.ARRAY'`` and tensor, in any of the trees; the sizes are bounded in all."""
    total, seen = 0, set()
    for name, dataset in _datasets(root, config):
        if name in seen:
            raise CheckpointError(f"two arrays of it are '{name}'")
        seen.add(name)
        total += math.prod(dataset.shape) * dataset.dtype.itemsize
        if total > LARGEST:
            raise CheckpointError(f'its arrays have more than {LARGEST:,} bytes; no network here is that large')
        yield name, _tensor(name, dataset)


def _datasets(root: h5py.Group, config: dict | None) -> Iterator[tuple[str, h5py.Dataset]]:
    old = _child(root, 'model_weights') if 'model_weights' in root else root
    if 'layer_names' in old.attrs or 'layer_names0' in old.attrs:
        return _old_tree(old)
    # The second name is tf.keras 2.13's to 2.15's.
    new = next((name for name in ('layers', '_layer_checkpoint_dependencies') if name in root), None)
    if new is None:
        raise CheckpointError('it is an HDF5 file, but holds no layers of Keras')
    return _new_tree(_child(root, new), _names_by_path(config))


def _old_tree(tree: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    for layer in _listed(tree, 'layer_names'):
        group = _child(tree, layer)
        for name in _listed(group, 'weight_names'):
            array = _ARRAY.fullmatch(name)
            if array is None:
                raise CheckpointError(f"layer '{layer}' has an array '{name}', which no known layer of Keras has")
            yield f'{layer}.{OLD_ARRAYS.get(array[1], array[1])}', _child(group, name)


def _new_tree(tree: h5py.Group, names: Mapping[str, str]) -> Iterator[tuple[str, h5py.Dataset]]:
    for path in tree:
        group = _child(tree, path)
        if 'layers' in group:
            raise CheckpointError(f"layer '{path}' is a model of its own: save that model alone")
        variables = _child(group, 'vars') if 'vars' in group else {}
        if not len(variables):
            continue
        layer = variables.attrs.get('name', names.get(path))
        if layer is None:
            raise CheckpointError(
                "its layers have no names, the Keras that wrote it left them out: save the model as '.keras' or '.h5', or "
                'with a newer Keras'
            )
        arrays = _arrays_of(path, len(variables))
        for number, array in enumerate(arrays):
            yield f'{_text(layer)}.{array}', _child(variables, str(number))


def _arrays_of(path: str, count: int) -> tuple[str, ...]:
    """The arrays of a layer by its path, a class and a number: ``'batch_normalization_7'``."""
    kind = re.sub(r'_\d+$', '', path)
    arrays = ARRAYS.get(kind, ())
    if kind == 'batch_normalization' and count == 3:  # of those that Keras's networks have, gamma is what may be off
        arrays = arrays[1:]
    if count not in (len(arrays), len(arrays) - (arrays[-1:] == ('bias',))):
        raise CheckpointError(f"layer '{path}' has {count} arrays, which no known layer of Keras has")
    return arrays[:count]


def _names_by_path(config: Any) -> dict[str, str]:
    """Path of each layer -> its name, from a model's configuration; Keras counts the layers of each class in order."""
    seen, names = Counter(), {}
    for layer in config['config']['layers'] if config is not None else ():
        kind = re.sub('([a-z])([A-Z])', r'\1_\2', re.sub('(.)([A-Z][a-z]+)', r'\1_\2', layer['class_name'])).lower()
        names[f'{kind}_{seen[kind]}' if seen[kind] else kind] = layer['config']['name']
        seen[kind] += 1
    return names


def _from_zero(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers that Keras gives by itself go on from model to model in a session; here they begin with 0."""
    first: dict[str, int] = {}
    numbered = []
    for key in state:
        layer, _, array = key.rpartition('.')
        match = _AUTOMATIC.fullmatch(layer)
        kind, number = (KINDS.get(match[1], match[1]), int(match[2] or 0)) if match else (layer, None)
        numbered.append((kind, number, array))
        if match:
            first[kind] = min(number, first.get(kind, number))
    names = (
        f'{kind}.{array}' if number is None else f'{kind}_{number - first[kind]}.{array}'
        for kind, number, array in numbered
    )
    return dict(zip(names, state.values(), strict=True))


# ------------------------------------------------------------------------------------------------------- HDF5, guarded


def _child(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """What lies under a path, reached by no link that could lead elsewhere."""
    import h5py

    found = group
    for part in path.split('/'):
        if not isinstance(found, h5py.Group) or part in ('', '.', '..') or part not in found:
            raise CheckpointError(f"it lists '{path}', but does not hold it")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise CheckpointError(f"'{path}' is a link to another place, which is not followed")
        found = found[part]
    return found


def _listed(group: h5py.Group, name: str) -> list[str]:
    """An attribute that lists names; where it is too long for one, Keras cuts it into ``name0``, ``name1``, ..."""
    parts = [name] if name in group.attrs else []
    while name not in group.attrs and f'{name}{len(parts)}' in group.attrs:
        parts.append(f'{name}{len(parts)}')
    if not parts:
        raise CheckpointError(f"'{group.name}' has no list of {name}")
    if any(math.prod(group.attrs.get_id(part).shape) > MOST_NAMES for part in parts):
        raise CheckpointError(f"the list of {name} of '{group.name}' is longer than any network's")
    return [_text(each) for part in parts for each in np.ravel(group.attrs[part])]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _tensor(name: str, dataset: h5py.Dataset) -> Tensor:
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        raise CheckpointError(f"'{name}' is no array")
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"'{name}' lies in another file, which is not read")
    if dataset.dtype.kind not in 'fiu':
        raise CheckpointError(f"'{name}' holds {dataset.dtype}, not numbers")
    declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    _refuse_oversized(f"'{name}'", declared, stored, LARGEST)
    if stored < declared and dataset.id.get_create_plist().get_nfilters() == 0:
        raise CheckpointError(f"'{name}' has {stored:,} of its {declared:,} bytes, it was not written to the end")
    values = dataset[()]
    floating = dataset.dtype.kind == 'f'
    return torch.from_numpy(np.array(values, dtype=np.float32 if floating else np.int64))
