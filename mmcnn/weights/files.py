"""Files of weights of every kind, opened as data: what a file is, is told by its content."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from mmcnn.weights.checkpoint import read_checkpoint, state_dict_of
from mmcnn.weights.formats.darknet_file import is_darknet
from mmcnn.weights.formats.files import check_file
from mmcnn.weights.formats.keras_file import read_keras
from mmcnn.weights.formats.safetensors_file import is_safetensors, read_safetensors
from mmcnn.weights.formats.torch_file import pickled_globals
from mmcnn.weights.formats.ultralytics_file import UltralyticsFile, is_ultralytics, read_ultralytics
from mmcnn.weights.record import KEY, Record, from_json, record_of

#: Kind of file -> whose layer names its tensors may have, in the order in which they are tried.
WORLDS = {
    'darknet': ('darknet',),
    'keras': ('keras',),
    'ultralytics': ('ultralytics',),
    'safetensors': ('mmcnn', 'torchvision', 'timm', 'mmdet', 'ultralytics'),
    'pytorch': ('mmcnn', 'torchvision', 'timm', 'mmdet', 'ultralytics'),
}
_HDF5 = b'\x89HDF\r\n\x1a\n'


@dataclass(frozen=True)
class WeightFile:
    """An opened file.

    Attributes:
        path: the file.
        format: a key of :data:`WORLDS`.
        state: its tensors under its own names; empty for Darknet, whose stream means nothing without a network.
        record: what a conversion or a run of ours wrote down.
        tree: of an ultralytics file, with what its pickled modules say.
    """

    path: Path
    format: str
    state: Mapping[str, Tensor] = field(default_factory=dict)
    record: Record | None = None
    tree: UltralyticsFile | None = None


def format_of(path: str | Path) -> str:
    """What a file is, a key of :data:`WORLDS`; 'pytorch' also for what is none of them.

    Raises:
        CheckpointError: there is no such file, or it is empty.
    """
    path = Path(path).expanduser()
    check_file(path)
    with path.open('rb') as file:
        head = file.read(64)
    if head.startswith(_HDF5):
        return 'keras'
    if head.startswith(b'PK') and 'model.weights.h5' in _members(path):
        return 'keras'
    if is_safetensors(head, path.stat().st_size):
        return 'safetensors'
    if head.startswith((b'PK', b'\x80')):
        return 'ultralytics' if is_ultralytics(pickled_globals(path) or []) else 'pytorch'
    return 'darknet' if is_darknet(head, path.stat().st_size) else 'pytorch'


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # whatever a damaged file provokes in zipfile; who reads it says what is wrong
        return []


def open_weights(path: str | Path) -> WeightFile:
    """Reads a file of any of the kinds. Nothing in it is run; of Darknet's only the kind is settled.

    Raises:
        CheckpointError: missing, broken, unsafe, or of another kind.
    """
    path = Path(path).expanduser()
    kind = format_of(path)
    if kind == 'darknet':
        return WeightFile(path, kind)
    if kind == 'keras':
        return WeightFile(path, kind, read_keras(path))
    if kind == 'ultralytics':
        tree = read_ultralytics(path)
        return WeightFile(path, kind, tree.state, tree=tree)
    if kind == 'safetensors':
        state, metadata = read_safetensors(path)
        return WeightFile(path, kind, state, from_json(metadata[KEY], path) if KEY in metadata else None)
    checkpoint = read_checkpoint(path)
    return WeightFile(path, kind, state_dict_of(checkpoint), record_of(checkpoint, path))
