"""Keras's files of weights: ``.h5`` of every version, ``.weights.h5`` and ``.keras``, read as data."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from mmcnn.errors import CheckpointError
from mmcnn.weights.formats import check_file, first_line

#: The program that reads a file in a separate process; its docstring says why.
READER = Path(__file__).with_name('keras_reader.py')
#: Its time limit in seconds, and the bytes for each further second; a slow disk reads ten times as many.
PATIENCE, SLOWEST = 30, 5e6

#: Layers that Keras names automatically, with their old and their current names.
KINDS = {'convolution2d': 'conv2d', 'batchnormalization': 'batch_normalization'}
_AUTOMATIC = re.compile(
    r'(conv2d|convolution2d|batch_normalization|batchnormalization|normalization)(?:_(\d{1,9}))?', re.ASCII
)


def read_keras(path: str | Path) -> dict[str, Tensor]:
    """Read a file that Keras wrote; nothing in it is built or executed, and nothing outside of it is read.

    Args:
        path: ``.h5``, ``.weights.h5`` or ``.keras``; the format is detected from the content.

    Returns:
        ``'LAYER.ARRAY'`` (``'block1_conv1.kernel'``) to tensor in Keras's layout, floating point as float32. Layers
        that Keras numbers automatically are counted from 0 in each kind: ``'conv2d_0.kernel'``.

    Raises:
        CheckpointError: missing, empty, truncated, damaged, larger than 2 GiB, of another format or with external
            links; or h5py is not installed.
    """
    path = Path(path).expanduser()
    check_file(path)
    if importlib.util.find_spec('h5py') is None:
        raise CheckpointError(f'{path} cannot be read without h5py, which is not installed: pip install h5py')
    with subprocess.Popen(
        [sys.executable, '-P', READER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        end = threading.Timer(PATIENCE + path.stat().st_size / SLOWEST, reader.kill)
        end.start()
        try:
            state = _received(reader.stdout)
            said = reader.stderr.read().decode(errors='replace').strip()
            status = reader.wait()
        finally:
            end.cancel()
            reader.kill()
    if status == 0 and state is not None:
        return _from_zero(state)
    if status != 1 or not said:
        said = 'cannot be read as a Keras file: it is damaged, and the HDF5 library fails to open it'
    elif ': neither HDF5' in said and (line := first_line(path)) is not None:
        said += f'; it is a text file that begins with {line!r}'
    raise CheckpointError(f'{path} {said.splitlines()[-1]}')


def _received(stream: BinaryIO) -> dict[str, Tensor] | None:
    """Return the arrays that the reader writes; None if it ended before the last one."""
    state = {}
    try:
        head = json.loads(stream.readline())
    except ValueError:
        return None
    for name, dtype, shape in head:
        size = np.dtype(dtype).itemsize * math.prod(shape)
        values = stream.read(size)
        if len(values) < size:
            return None
        state[name] = torch.from_numpy(np.ndarray(shape, dtype, values).copy())
    return state


def _from_zero(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renumber automatically named layers from 0, since Keras counts on from model to model in a session."""
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
