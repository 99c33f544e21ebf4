"""Darknet's weight files: ``.weights`` and the cut-offs ``.conv.N``, read and written.

Little-endian: three int32 (version 0.1.0, 0.2.0 or 0.2.5), the number of images seen in training (uint64; uint32 before
version 0.2), and the stream of float32 that :mod:`mmcnn.weights.darknet_order` describes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import nn

from mmcnn.engine.atomic_file import write_whole
from mmcnn.errors import CheckpointError
from mmcnn.weights.checkpoint import check_file, first_line
from mmcnn.weights.darknet_order import UNBUILT, Entry, Order, order_of
from mmcnn.weights.translate import Translation

VERSION = (0, 2, 5)  # of the files written
FLOAT = 4  # bytes
#: Floats -> the public file that has so many.
PUBLIC = {
    62_001_757: 'yolov3.weights',
    64_429_405: 'yolov4.weights',
    56_367_712: 'yolov3.conv.81',
    40_620_640: 'darknet53.conv.74',
    41_645_640: 'darknet53.weights',
    26_652_512: 'csdarknet53-omega.conv.105',
    27_677_512: 'csdarknet53-omega_final.weights',
    42_509_664: 'yolov4.conv.137',
    36_637_024: 'yolov4-csp.conv.142',
    35_077_824: 'csresnext50-panet-spp.conv.112',
    5_140_960: 'yolov4-tiny.conv.29',
}
#: First bytes -> what else it is.
FOREIGN = {
    b'PK': 'a zip archive, as a .pth, .pt or .npz file is',
    b'\x80': 'a pickle, as an old .pth or .pt file is',
    b'\x89HDF': 'an HDF5 file, as a .h5 file is',
    b'\x1f\x8b': 'a gzip archive: unpack it first',
    b'\x89PNG': 'a picture',
    b'\xff\xd8\xff': 'a picture',
}


class Header(NamedTuple):
    """The head of a file."""

    version: tuple[int, int, int]
    seen: int  # images, in the training
    size: int  # bytes of the header


def is_darknet(head: bytes, size: int) -> bool:
    """Whether a file is of Darknet's, by its first 20 bytes and its size; :func:`read_darknet` may still refuse it."""
    return size >= 16 and (_version(head, '<') or _version(head, '>')) is not None


def read_header(path: str | Path) -> Header:
    """The version of a file and how many images its training had seen.

    Raises:
        CheckpointError: missing, empty or no Darknet file; the sentence says what it looks like.
    """
    path = Path(path).expanduser()
    check_file(path)
    try:
        with path.open('rb') as file:
            head = file.read(20)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}') from error
    version = _version(head, '<')
    if version is None:
        raise CheckpointError(f'{path} is no Darknet weight file, but {_looks_like(path, head)}')
    seen = struct.Struct('<Q' if version >= (0, 2, 0) else '<I')
    if len(head) < 12 + seen.size:
        raise CheckpointError(f'{path} is cut short within its header of {12 + seen.size} bytes')
    return Header(version, *seen.unpack_from(head, 12), 12 + seen.size)


def read_darknet(path: str | Path, model: nn.Module) -> Translation:
    """A Darknet file under the names of a model.

    The file holds the whole network, or ends where a public cut-off of it ends: behind the trunk (``.conv.74`` or
    ``.conv.75`` of YOLOv3, ``.conv.105`` of YOLOv4), ``.conv.81`` of YOLOv3, ``.conv.137`` of YOLOv4. Its size is held
    against the model's before anything of it is read, and no more than the model's tensors is ever in memory.

    A head for another number of classes has its own shapes in the result. Predictions for other anchors or another
    decoding than the model's are refused: YOLOv4's mean what ``configs/yolov4_cspdarknet53_darknet.py`` makes of them,
    not what ``configs/yolov4_cspdarknet53.py`` does.

    Args:
        path: the file.
        model: a ``darknet53`` or ``cspdarknet53`` as a backbone, in a :class:`~mmcnn.models.classifiers.Classifier`, in
            YOLOv3 or YOLOv4; it may be on the meta device. A bare backbone leaves out the top of an ImageNet classifier
            and its own stages that are not built.

    Returns:
        the tensors; ``left_out`` of the file and ``absent`` of the model, each with its reason.

    Raises:
        CheckpointError: the file is missing, of another kind, of another size, or holds NaN, infinity or a negative
            variance; or Darknet has no such network.
    """
    path = Path(path).expanduser()
    order, header = order_of(model), read_header(path)
    floats, rest = divmod(path.stat().st_size - header.size, FLOAT)
    if rest:
        raise CheckpointError(f'{path} is cut short or damaged: {rest} bytes follow the last of its {floats:,} floats')
    if floats != order.floats and floats not in order.cuts:
        classes = order.classes_of(floats)
        if classes is None or order.entries[-1].unbuilt:
            raise CheckpointError(f'{path} {_other_size(floats, order)}')
        order = order.with_classes(classes)
    if floats == order.floats and order.other_boxes:
        raise CheckpointError(
            f'{path} holds predictions for other {order.other_boxes} than those of this model, which would make wrong '
            'boxes of them; take a config that has them (yolov4_cspdarknet53_darknet), or a cut-off without predictions'
        )
    state, left_out, absent, position = {}, {}, [], 0
    with path.open('rb') as file:
        for entry in order.entries:
            if position == floats:
                absent += [] if entry.unbuilt else [entry.key]
                continue
            if entry.unbuilt:
                left_out.setdefault(entry.unbuilt, []).append(entry.key)
            else:
                file.seek(header.size + FLOAT * position)
                state[entry.key] = torch.from_numpy(_checked(path, entry, np.fromfile(file, '<f4', entry.floats)))
            position += entry.floats
    behind = {f'behind the cut-off .conv.{order.cuts[floats]}': absent} if absent else {}
    return Translation(state, left_out, absent=behind)


def write_darknet(model: nn.Module, path: str | Path, seen: int = 0) -> None:
    """Writes a model as Darknet's file of version 0.2.5, whole or not at all; a backbone as the cut-off of its trunk.

    :func:`read_darknet` gives the same float32 values back, and a file of that version, read and written with its
    ``seen``, is the same file.

    Args:
        model: as in :func:`read_darknet`.
        path: a file, by custom ``NAME.weights``; one that exists is replaced.
        seen: images that the training has seen.

    Raises:
        CheckpointError: Darknet has no such network, or would make other boxes of its predictions; stages are not
            built; values that a reader would refuse; the file cannot be written.
    """
    path, order = Path(path).expanduser(), order_of(model)
    if unbuilt := [entry.key for entry in order.entries if entry.unbuilt == UNBUILT]:
        raise CheckpointError(f'{order.model} is not built as far as {unbuilt[-1]}: build it with its last level')
    if order.other_boxes:
        raise CheckpointError(f'{order.model} has other {order.other_boxes}: Darknet would make wrong boxes of it')
    state = model.state_dict()
    arrays = [
        _checked(path, entry, state[entry.key].detach().cpu().float().contiguous().numpy().reshape(-1))
        for entry in order.entries
        if not entry.unbuilt
    ]

    def write(file: BinaryIO) -> None:
        file.write(struct.pack('<3iQ', *VERSION, seen))
        for array in arrays:
            file.write(array.astype('<f4', copy=False).data)

    try:
        write_whole(path, write)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be written: {error.strerror}') from error


def _version(head: bytes, byte_order: str) -> tuple[int, int, int] | None:
    """The version in a header, None if there is none that Darknet ever had."""
    if len(head) < 12:
        return None
    major, minor, revision = struct.unpack_from(f'{byte_order}3i', head)
    known = 0 <= major <= 2 and 0 <= minor <= 9 and 0 <= revision <= 99 and (major, minor) != (0, 0)
    return (major, minor, revision) if known else None


def _looks_like(path: Path, head: bytes) -> str:
    for first, kind in FOREIGN.items():
        if head.startswith(first):
            return kind
    if _version(head, '>'):
        return 'one in big-endian byte order, which Darknet does not write'
    if head[8:9] == b'{':
        return 'a .safetensors file'
    if line := first_line(path):
        if line.startswith('<'):
            return f'a web page, such as a failed download leaves; it begins with {line!r}'
        return f'a text; it begins with {line!r}'
    return f'something else: it begins with the bytes {head[:12].hex(" ")}, no version of Darknet'


def _other_size(floats: int, order: Order) -> str:
    """Why a number of floats does not fit, and what it would fit."""
    takes = [f'{order.floats:,}', *(f'{cut:,} (.conv.{n})' for cut, n in order.cuts.items())]
    sentence = f'holds {floats:,} floats'
    if floats in PUBLIC:
        sentence += f', as {PUBLIC[floats]} does'
    sentence += f'; {order.model} takes {" or ".join(takes)}'
    return sentence


def _checked(path: Path, entry: Entry, values: np.ndarray) -> np.ndarray:
    """The values in the entry's shape."""
    if values.size != entry.floats:
        raise CheckpointError(f'{path} became shorter while it was read')
    if not np.isfinite(values).all():
        raise CheckpointError(f'{path}: {entry.key} holds values that are not finite')
    if entry.key.endswith('running_var') and (values < 0).any():
        raise CheckpointError(f'{path}: {entry.key} holds negative variances')
    return values.astype(np.float32, copy=False).reshape(entry.shape)
