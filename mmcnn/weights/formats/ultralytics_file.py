"""Files of YOLOv5 (v4.0 to v7.0) as ultralytics publishes them: ``.pt`` files of whole pickled modules.

The modules are read as inert data (:mod:`mmcnn.weights.formats.torch_file`), so neither their
classes nor their code is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcnn.compat.moved import renamed_attribute
from mmcnn.errors import CheckpointError
from mmcnn.weights.formats.restricted_unpickler import StandIn
from mmcnn.weights.formats.torch_file import StoredTensor, TorchFile, TorchFileError, open_inert

# Number of a layer in the file -> its kind and our name for it; the layers in between have no weights.
NECK_AND_HEAD = {
    10: ('Conv', 'neck.reduce5'),
    13: ('C3', 'neck.top_down4'),
    14: ('Conv', 'neck.reduce4'),
    17: ('C3', 'neck.top_down3'),
    18: ('Conv', 'neck.down3'),
    20: ('C3', 'neck.bottom_up4'),
    21: ('Conv', 'neck.down4'),
    23: ('C3', 'neck.bottom_up5'),
    24: ('Detect', 'bbox_head.predictions'),
}
V6 = {
    0: ('Conv', 'backbone.stem'),
    **{2 * stage - 1: ('Conv', f'backbone.stage{stage}.0') for stage in (1, 2, 3, 4)},
    **{2 * stage: ('C3', f'backbone.stage{stage}.1') for stage in (1, 2, 3, 4)},
    9: ('SPPF', 'backbone.stage4.2'),
    **NECK_AND_HEAD,
}
FOCUS = V6 | {0: ('Focus', 'backbone.stem.1'), 8: ('SPP', 'backbone.stage4.1'), 9: ('C3', 'backbone.stage4.2')}
DETECT = 'model.24'
ANCHORS = (f'{DETECT}.anchors', f'{DETECT}.anchor_grid')
STRIDES = (8, 16, 32)
TOO_OLD = 'it holds YOLOv5 before v4.0 (BottleneckCSP layers); use a file of v4.0 or later'
#: Maximum number of modules; YOLOv5x has about 700.
MAX_MODULES = 10_000
MAX_DEPTH = 20


@dataclass(frozen=True)
class UltralyticsFile:
    """A YOLOv5 detector as its file describes it.

    Attributes:
        path: name of the file in messages.
        state: ultralytics' names to tensors, float32 (BatchNorm's counters int64).
        form: 'v6' (6x6 stem, SPPF; v6.0 to v7.0) or 'focus' (v4.0 and v5.0).
        anchors: for each level, (width, height) of each anchor, pixels.
        strides: for each level, pixels.
        num_classes: number of classes.
        classes: their names; empty: the file has none.
        eps: epsilon of the BatchNorm layers; empty for a plain state dict, which does not have it.
        activations: class names of the activations; empty for a plain state dict.
    """

    path: str
    state: dict[str, Tensor]
    form: str
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    num_classes: int
    classes: tuple[str, ...] = ()
    eps: tuple[float, ...] = ()
    activations: tuple[str, ...] = ()

    source = renamed_attribute('source', 'path')


def is_ultralytics(names: Iterable[str]) -> bool:
    """Return whether names in a file, of a pickle's classes or a state dict's entries, are ultralytics'."""
    return any(
        re.match(r'(models\.(yolo|common)|ultralytics)\.|model\.0\.(conv\.)?conv\.weight$', name) for name in names
    )


def read_ultralytics(path: str | Path | TorchFile) -> UltralyticsFile:
    """Read a ``.pt`` file, or an opened one: the averaged weights (``ema``) if there are any, else ``model``.

    Nothing in the file is executed, and ultralytics' classes are not needed. A plain state dict is read, too.

    Raises:
        CheckpointError: the file is missing, broken or of another network (YOLOv5 before v4.0, YOLOv8 and later,
            four-level, segmentation and classification models).
    """
    file = path if isinstance(path, TorchFile) else open_inert(Path(path).expanduser())
    path = file.path
    root = _root(file.content)
    try:
        if isinstance(root, dict):
            return described(file.tensors(root), str(path))
        if root is None:
            raise TorchFileError('it holds neither a module nor a state dict')
        modules = dict(_modules(root))
        _refuse_others(modules)
        stride = modules[DETECT].state.get('stride')
        if not isinstance(stride, StoredTensor) or file.tensors({'': stride})[''].tolist() != list(STRIDES):
            raise TorchFileError(f'its strides are not {STRIDES}')
        norms = [module.state.get('eps') for module in modules.values() if _kind(module) == 'BatchNorm2d']
        return described(
            file.tensors(dict(_entries(modules))),
            str(path),
            classes=_classes(root.state),
            eps=tuple(sorted({eps for eps in norms if isinstance(eps, float)})),
            activations=tuple(sorted({_kind(module) for name, module in modules.items() if name.endswith('.act')})),
        )
    except TorchFileError as error:
        raise CheckpointError(f'{path} was rejected: {error}') from error


def _root(content: Any) -> StandIn | dict[str, StoredTensor] | None:
    """Return the module or the state dict that holds the weights."""
    entries = [content.get(name) for name in ('ema', 'model', 'state_dict')] if isinstance(content, dict) else []
    for entry in (*entries, content):
        if isinstance(entry, StandIn):
            return entry
        if isinstance(entry, dict) and entry:
            pairs = all(isinstance(key, str) and isinstance(value, StoredTensor) for key, value in entry.items())
            if pairs:
                return entry
    return None


def _modules(root: StandIn) -> Iterator[tuple[str, StandIn]]:
    """Yield a module and all modules inside it with their names, shared ones under each of their names."""
    pending, count = [('', root)], 0
    while pending:
        name, module = pending.pop()
        count += 1
        if count > MAX_MODULES or name.count('.') > MAX_DEPTH:
            raise TorchFileError('its modules contain each other')
        if not isinstance(module, StandIn) or not isinstance(module.state, dict):
            raise TorchFileError(f'its module {name!r:.60} is not a module')
        yield name, module
        children = _group(module, '_modules')
        pending += [(_joined(name, key), child) for key, child in reversed(children) if child is not None]


def _entries(modules: Mapping[str, StandIn]) -> Iterator[tuple[str, StoredTensor]]:
    """Yield the state dict of a tree of modules."""
    for name, module in modules.items():
        for key, value in _group(module, '_parameters') + _group(module, '_buffers'):
            if value is not None:
                if not isinstance(value, StoredTensor):
                    raise TorchFileError(f'its {_joined(name, key)!r:.60} is not a plain tensor')
                yield _joined(name, key), value


def _group(module: StandIn, name: str) -> list[tuple[Any, Any]]:
    group = module.state.get(name)
    return list(group.items()) if isinstance(group, dict) else []


def _joined(name: str, key: Any) -> str:
    if not isinstance(key, str):
        raise TorchFileError(f'a part of its module {name!r:.60} has no name')
    return f'{name}.{key}' if name else key


def _kind(module: StandIn) -> str:
    return module.name.rpartition('.')[2]


def _classes(state: Mapping[str, Any]) -> tuple[str, ...]:
    names = state.get('names')
    values = tuple(names.values() if isinstance(names, dict) else names if isinstance(names, list) else ())
    return values if all(isinstance(name, str) for name in values) else ()


def _refuse_others(modules: Mapping[str, StandIn]) -> None:
    """Raise TorchFileError for a network that is not a three-level detector of C3 layers."""
    root = modules[''].name[:60]
    kinds = {number: _kind(modules[f'model.{number}'])[:60] for number in V6 if f'model.{number}' in modules}
    if root.startswith('ultralytics.'):
        raise TorchFileError(f'it holds a {root} (YOLOv8 or later), which is not YOLOv5')
    if 'BottleneckCSP' in kinds.values():
        raise TorchFileError(TOO_OLD)
    layers = FOCUS if kinds.get(0) == 'Focus' else V6
    for number, (kind, _) in sorted(layers.items(), reverse=True):  # the head first, which is the most telling
        if kinds.get(number) != kind:
            raise TorchFileError(
                f'it is not a three-level detector of YOLOv5 v4.0 to v7.0: layer {number} of its {root} is '
                f'{kinds.get(number, "not there")}, not {kind}'
            )


def described(entries: Mapping[str, Tensor], path: str, **said: Any) -> UltralyticsFile:
    """Return a file from its state dict.

    Args:
        entries: ultralytics' names to tensors of any precision.
        path: name of the file in messages.
        **said: what only modules contain: ``classes``, ``eps``, ``activations``.

    Raises:
        CheckpointError: the entries are not those of a YOLOv5 detector of v4.0 or later.
    """
    focus, grid = 'model.0.conv.conv.weight' in entries, entries.get(ANCHORS[0])
    biases = [entries[name] for level in range(len(STRIDES)) if (name := f'{DETECT}.m.{level}.bias') in entries]
    if not (focus or 'model.0.conv.weight' in entries) or grid is None or len(biases) < len(STRIDES):
        raise CheckpointError(f'{path} does not have the entries of a YOLOv5 detector: model.0.conv, {DETECT}, ...')
    if any('.cv4.' in key for key in entries):
        raise CheckpointError(f'{path} was rejected: {TOO_OLD}')
    if grid.ndim != 3 or len(grid) != len(STRIDES) or grid.shape[2] != 2 or not grid.is_floating_point():
        raise CheckpointError(
            f'{path} was rejected: its anchors have the shape {tuple(grid.shape)}, not ({len(STRIDES)}, n, 2)'
        )
    pixels = (grid.float() * torch.tensor(STRIDES)[:, None, None]).tolist()
    anchors = tuple(tuple((width, height) for width, height in level) for level in pixels)
    num_classes = biases[0].numel() // max(grid.shape[1], 1) - 5
    state = {key: value.float() if value.is_floating_point() else value for key, value in entries.items()}
    return UltralyticsFile(path, state, 'focus' if focus else 'v6', anchors, STRIDES, num_classes, **said)
