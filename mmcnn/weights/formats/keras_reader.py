"""A separate program that reads one of Keras's files and writes its arrays to the standard output.

The HDF5 library may crash, hang or exhaust the memory on a damaged file, so :mod:`mmcnn.weights.formats.keras_file`
runs this in a process that may fail.
The output is a line of JSON, ``[[name, dtype, shape], ...]``, followed by the bytes of the arrays. An error is a
sentence on standard error with exit status 1.

The files have one of two layouts. Old: each layer is a group, whose arrays are listed in ``weight_names``; in a file
with a whole model they are under ``model_weights``. New: the group of a layer is named after its class
(``layers/conv2d_12``), its arrays are numbered, and its own name is an attribute; older releases of Keras lack the
attribute, and only the ``config.json`` of a ``.keras`` archive has the name.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import h5py
import numpy as np

#: Maximum size of the arrays in a file and of its configuration: several times what the largest network needs.
LARGEST, LARGEST_CONFIG = 2**31, 2**24
#: Maximum number of names in a list.
MOST_NAMES = 100_000
#: A compressed array or archive of weights is nearly as large as the weights.
SHRINKS = 100
#: Maximum number of characters of a message, which can contain names from the file.
LONGEST = 300
#: Memory limit of this program; Python and NumPy reserve a part of it.
MEMORY = 3 * LARGEST
SIGNATURE = b'\x89HDF\r\n\x1a\n'
OTHER = 'is not a Keras file: neither HDF5 nor an archive with a model.weights.h5'

#: Class of a layer -> its arrays in the order in which Keras numbers them; bias and gamma may be absent.
ARRAYS = {
    'conv2d': ('kernel', 'bias'),
    'dense': ('kernel', 'bias'),
    'depthwise_conv2d': ('depthwise_kernel', 'bias'),
    'separable_conv2d': ('depthwise_kernel', 'pointwise_kernel', 'bias'),
    'batch_normalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'normalization': ('mean', 'variance', 'count'),
}
#: Keras 1's names of arrays; its running_std contains the variance.
OLD_ARRAYS = {'W': 'kernel', 'b': 'bias', 'running_mean': 'moving_mean', 'running_std': 'moving_variance'}
_KNOWN = '|'.join(dict.fromkeys([*(name for names in ARRAYS.values() for name in names), *OLD_ARRAYS]))
# 'kernel', 'conv1/kernel:0', 'model/conv1_1/kernel:0', 'block1_conv1_W_1:0'.
_ARRAY = re.compile(rf'(?:.*?[/_])??({_KNOWN})(?:_\d+)?(?::0)?')


class RefusedError(ValueError):
    """The file cannot be read; the message says why."""


def main() -> None:
    """Run ``python -P keras_reader.py FILE``."""
    with contextlib.suppress(ImportError, ValueError):  # Windows has no limits, and a lower one stays
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        with open(sys.argv[1], 'rb') as file:
            arrays = found_in(file)
            print(json.dumps([(name, as_written(each).str, each.shape) for name, each in arrays.items()]), flush=True)
            for dataset in arrays.values():
                sys.stdout.buffer.write(np.ascontiguousarray(dataset[()], as_written(dataset)).data)
    except RefusedError as error:
        sys.exit(_one_line(str(error)))
    except PermissionError:
        sys.exit('cannot be read: permission denied')
    except Exception as error:  # a damaged file makes h5py and zipfile fail in any way: OSError, KeyError, RuntimeError
        reason = _one_line(f'{type(error).__name__}: {error}')
        sys.exit(f'cannot be read as a Keras file: it is truncated or damaged ({reason})')


def _one_line(text: str) -> str:
    """Return a text as one short line: names in a file may contain anything."""
    return ' '.join(text.split())[:LONGEST]


def as_written(dataset: h5py.Dataset) -> np.dtype:
    """Return the type of an array in the output: float32 for any floating point, int64 for integers."""
    return np.dtype('<f4' if dataset.dtype.kind == 'f' else '<i8')


def found_in(file: BinaryIO) -> dict[str, h5py.Dataset]:
    """Return ``'LAYER.ARRAY'`` and its data set, in the order of the file.

    Raises:
        RefusedError: it is not a Keras file, lists missing arrays, has external links, or is too large.
    """
    config = None
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if 'model.weights.h5' not in archive.namelist():
                raise RefusedError(OTHER)
            config = json.loads(_member(archive, 'config.json', LARGEST_CONFIG))
            file = io.BytesIO(_member(archive, 'model.weights.h5', LARGEST))
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise RefusedError(OTHER)
    found, total = {}, 0
    for name, dataset in _datasets(h5py.File(file, 'r'), config):
        if name in found:
            raise RefusedError(f"has two arrays named '{name}'")
        _check(name, dataset)
        total += math.prod(dataset.shape) * dataset.dtype.itemsize
        if total > LARGEST:
            raise RefusedError(f'has arrays of more than {LARGEST:,} bytes, which is more than any supported network')
        found[name] = dataset
    return found


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    info = archive.getinfo(name)
    _refuse_oversized(name, info.file_size, info.compress_size, largest)
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise RefusedError(f'declares {info.file_size:,} bytes for {name} but has {len(data):,}')
    return data


def _refuse_oversized(name: str, declared: int, stored: int, largest: int) -> None:
    if declared > largest or declared > SHRINKS * max(stored, 1024):
        raise RefusedError(f'declares {declared:,} bytes for {name} but stores {stored:,}, which no network needs')


# ----------------------------------------------------------------------------------------------------------- the trees


def _datasets(root: h5py.Group, config: dict | None) -> Iterator[tuple[str, h5py.Dataset]]:
    old = _child(root, 'model_weights') if 'model_weights' in root else root
    if 'layer_names' in old.attrs or 'layer_names0' in old.attrs:
        return _old_tree(old)
    # The second name is tf.keras 2.13's to 2.15's.
    new = next((name for name in ('layers', '_layer_checkpoint_dependencies') if name in root), None)
    if new is None:
        raise RefusedError('is an HDF5 file without Keras layers')
    return _new_tree(_child(root, new), _names_by_path(config))


def _old_tree(tree: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    for layer in _listed(tree, 'layer_names'):
        group = _child(tree, layer)
        for name in _listed(group, 'weight_names'):
            array = _ARRAY.fullmatch(name)
            if array is None:
                raise RefusedError(f"has an array '{name}' in layer '{layer}', which no known layer of Keras has")
            yield f'{layer}.{OLD_ARRAYS.get(array[1], array[1])}', _child(group, name)


def _new_tree(tree: h5py.Group, names: Mapping[str, str]) -> Iterator[tuple[str, h5py.Dataset]]:
    for path in tree:
        group = _child(tree, path)
        if 'layers' in group:
            raise RefusedError(f"has a nested model as layer '{path}': save that model separately")
        variables = _child(group, 'vars') if 'vars' in group else {}
        if not len(variables):
            continue
        layer = variables.attrs.get('name', names.get(path))
        if layer is None:
            raise RefusedError(
                "does not contain layer names because Keras was too old: save the model as '.keras' or "
                "'.h5', or with a newer Keras"
            )
        arrays = _arrays_of(path, len(variables))
        for number, array in enumerate(arrays):
            yield f'{_text(layer)}.{array}', _child(variables, str(number))


def _arrays_of(path: str, count: int) -> tuple[str, ...]:
    """Return the arrays of a layer by its path, a class and a number: ``'batch_normalization_7'``."""
    kind = re.sub(r'_\d+$', '', path)
    arrays = ARRAYS.get(kind, ())
    if kind == 'batch_normalization' and count == 3:  # in Keras's networks, only gamma can be absent
        arrays = arrays[1:]
    if count not in (len(arrays), len(arrays) - (arrays[-1:] == ('bias',))):
        raise RefusedError(f"has {count} arrays in layer '{path}', which no known layer of Keras has")
    return arrays[:count]


def _names_by_path(config: Any) -> dict[str, str]:
    """Return path of each layer -> its name, from a model's configuration; Keras counts the layers of each class."""
    seen, names = Counter(), {}
    for layer in config['config']['layers'] if config is not None else ():
        kind = re.sub('([a-z])([A-Z])', r'\1_\2', re.sub('(.)([A-Z][a-z]+)', r'\1_\2', layer['class_name'])).lower()
        names[f'{kind}_{seen[kind]}' if seen[kind] else kind] = layer['config']['name']
        seen[kind] += 1
    return names


# ------------------------------------------------------------------------------------------------------- HDF5, guarded


def _child(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Return the object at a path, without following links that could lead elsewhere."""
    found = group
    for part in path.split('/'):
        if not isinstance(found, h5py.Group) or part in ('', '.', '..') or part not in found:
            raise RefusedError(f"lists '{path}' but does not contain it")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise RefusedError(f"has a link at '{path}', which is not followed")
        found = found[part]
    return found


def _listed(group: h5py.Group, name: str) -> list[str]:
    """Return an attribute with a list of names; Keras splits long ones into ``name0``, ``name1``, ..."""
    parts = [name] if name in group.attrs else []
    while name not in group.attrs and f'{name}{len(parts)}' in group.attrs:
        parts.append(f'{name}{len(parts)}')
    if not parts:
        raise RefusedError(f"has no list of {name} in '{group.name}'")
    if sum(math.prod(group.attrs.get_id(part).shape) for part in parts) > MOST_NAMES:
        raise RefusedError(f"has a list of {name} in '{group.name}' that is too long")
    return [_text(each) for part in parts for each in np.ravel(group.attrs[part])]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _check(name: str, dataset: h5py.Dataset) -> None:
    if not isinstance(dataset, h5py.Dataset):
        raise RefusedError(f"has '{name}', which is not an array")
    if dataset.external or dataset.is_virtual:
        raise RefusedError(f"stores '{name}' in another file, which is not read")
    if dataset.dtype.kind not in 'fiu':
        raise RefusedError(f"has {dataset.dtype} in '{name}' instead of numbers")
    declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    _refuse_oversized(f"'{name}'", declared, stored, LARGEST)
    if stored < declared and dataset.id.get_create_plist().get_nfilters() == 0:
        raise RefusedError(f"stores only {stored:,} of the {declared:,} bytes of '{name}': writing was interrupted")


if __name__ == '__main__':
    main()
