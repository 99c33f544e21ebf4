"""Weights of YOLOv5: the mapping of ultralytics' layers to ours, and its published files.

Licence: AGPL-3.0, as Ultralytics currently states for YOLOv5 and its weights.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.errors import CheckpointError
from mmcnn.image_format import UNIT
from mmcnn.weights.formats.ultralytics_file import ANCHORS, FOCUS, V6, UltralyticsFile, described
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.translate import Rule, Translation, translate

#: A layer's kind -> names inside it, theirs and ours.
PARTS: dict[str, list[tuple[str, str]]] = {
    'Conv': [(r'(conv|bn)', r'\1')],
    'Focus': [(r'conv\.(conv|bn)', r'\1')],
    'SPP': [(r'cv([12])\.(conv|bn)', r'conv\1.\2')],
    'SPPF': [(r'cv([12])\.(conv|bn)', r'conv\1.\2')],
    'C3': [
        (r'cv1\.(conv|bn)', r'main_conv.\1'),
        (r'cv2\.(conv|bn)', r'short_conv.\1'),
        (r'cv3\.(conv|bn)', r'final_conv.\1'),
        (r'm\.(\d+)\.cv([12])\.(conv|bn)', r'blocks.\1.conv\2.\3'),
    ],
    'Detect': [(r'm\.(\d)', r'\1')],
}
#: Form of the trunk -> our class for it, its layers.
FORMS = {'v6': ('CSPDarknetV6', V6), 'focus': ('CSPDarknetFocus', FOCUS)}
BEHIND_TRUNK = re.compile(r'model\.[12]\d\.')


def from_ultralytics(
    file: UltralyticsFile | Mapping[str, Tensor], model: nn.Module, predictions: bool = True
) -> Translation:
    """Return the file's tensors under the names of one of our YOLOv5 detectors, or of a bare trunk of one.

    The caller has to check a head for another number of classes, and stages that a trunk has not built.

    Args:
        file: returned by :func:`read_ultralytics`, or a plain state dict with ultralytics' names.
        model: built from configs/yolov5_*.py, or a ``cspdarknet-*`` or ``cspdarknet-focus-*`` backbone.
        predictions: False: the file's predictions will not be used, so their anchors do not matter.

    Raises:
        CheckpointError: the file and the model differ in form, size, anchors, strides, activation or BatchNorm's eps;
            the message gives both.
    """
    if not isinstance(file, UltralyticsFile):
        file = described(file, 'the state dict')
    family, layers = FORMS[file.form]
    detector = hasattr(model, 'neck') and hasattr(model, 'bbox_head')
    trunk = model.backbone if detector else model
    fits = family in {cls.__name__ for cls in type(trunk).__mro__}
    if not fits or (detector and type(model.neck).__name__ != 'YOLOv5PAFPN'):
        has = f'{type(trunk).__name__} and {type(model.neck).__name__}' if detector else type(model).__name__
        raise CheckpointError(
            f'{file.path} holds YOLOv5 for a {family}, alone or followed by a YOLOv5PAFPN; the model is a {has}'
        )
    if detector and predictions:
        _compare_heads(file, model.bbox_head)
    _compare_layers(file, model)
    weights = {key: value for key, value in file.state.items() if key not in ANCHORS}
    renamed = translate(weights, _rules(layers)).state
    left_out = {'anchors, which the config defines': tuple(key for key in ANCHORS if key in file.state)}
    if not detector:
        left_out = {'neck and head of the detector': tuple(key for key in file.state if BEHIND_TRUNK.match(key))}
        renamed = {key.removeprefix('backbone.'): v for key, v in renamed.items() if key.startswith('backbone.')}
    (theirs, blocks), (ours, own) = _size(renamed), _size(model.state_dict())
    blocks = {name: blocks.get(name, 0) for name in own}  # a trunk may have fewer stages
    if (theirs, blocks) != (ours, own):
        raise CheckpointError(
            f'{file.path} holds another size of YOLOv5: it has {theirs} initial channels and C3 layers of '
            f'{list(blocks.values())} bottlenecks, but the model has {ours} and {list(own.values())}'
        )
    return Translation(renamed, left_out)


def _rules(layers: Mapping[int, tuple[str, str]]) -> list[Rule]:
    return [
        (rf'model\.{number}\.{theirs}', f'{name}.{ours}')
        for number, (kind, name) in layers.items()
        for theirs, ours in PARTS[kind]
    ]


def _compare_heads(file: UltralyticsFile, head: nn.Module) -> None:
    if tuple(head.strides) != file.strides:
        raise CheckpointError(
            f"{file.path} has the strides {file.strides}, but the model's head has {tuple(head.strides)}"
        )
    theirs, ours = torch.tensor(file.anchors), [[list(anchor) for anchor in level] for level in head.anchors]
    same = [len(level) for level in ours] == [len(level) for level in file.anchors]
    # The file's anchors are stored in cells, in half precision.
    if not same or not torch.allclose(theirs, torch.tensor(ours), rtol=1e-3):
        raise CheckpointError(
            f'{file.path} has the anchors {_text(file.anchors)}, but the model has {_text(ours)}: boxes would be '
            "wrong; set the anchors of the file in the config's bbox_head"
        )


def _compare_layers(file: UltralyticsFile, model: nn.Module) -> None:
    """Compare what no shape reveals: BatchNorm's eps and the activation."""
    eps = tuple(sorted({module.eps for module in model.modules() if isinstance(module, BatchNorm)}))
    if file.eps and file.eps != eps:
        raise CheckpointError(f"{file.path} has BatchNorm's eps {_listed(file.eps)}, but the model has {_listed(eps)}")
    activations = tuple(sorted({type(module.act).__name__ for module in model.modules() if hasattr(module, 'act')}))
    if file.activations and file.activations != activations:
        raise CheckpointError(
            f'{file.path} has the activation {_listed(file.activations)}, but the model has {_listed(activations)}'
        )


def _size(state: Mapping[str, Tensor]) -> tuple[int, Counter[str]]:
    """Return the channels of the first convolution and the bottlenecks of each C3, from a state dict with our names."""
    stem = next(value for key, value in state.items() if re.fullmatch(r'(backbone\.)?stem\.(1\.)?conv\.weight', key))
    found = (re.fullmatch(r'(.+)\.blocks\.\d+\.conv1\.conv\.weight', key) for key in state)
    return stem.shape[0], Counter(match[1] for match in found if match)


def _text(anchors: Sequence[Sequence[Sequence[float]]]) -> str:
    return ' '.join(f'({", ".join(f"{width:g}x{height:g}" for width, height in level)})' for level in anchors)[:200]


def _listed(values: Sequence[object]) -> str:
    return ' and '.join(map(str, values))[:200] or 'none'


# The COCO weights by release. v6.1 and v7.0 have the same graph; that of v5.0 has a Focus stem.

RELEASES = 'https://github.com/ultralytics/yolov5/releases/'

# Model, row of the trunk, release, file, AP on val2017 at 640 px, SHA-256 if known.
FILES = [
    ('yolov5_n', 'cspdarknet-n', 'v7.0', 'yolov5n', 28.0,
     '4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3'),
    ('yolov5_s', 'cspdarknet-s', 'v7.0', 'yolov5s', 37.4,
     '8b3b748c1e592ddd8868022e8732fde20025197328490623cc16c6f24d0782ee'),
    ('yolov5_m', 'cspdarknet-m', 'v7.0', 'yolov5m', 45.4,
     '61d933360ba5a7733a36764996c800287d973889d875227f5beedd2473a97a56'),
    ('yolov5_l', 'cspdarknet-l', 'v7.0', 'yolov5l', 49.0, ''),
    ('yolov5_x', 'cspdarknet-x', 'v7.0', 'yolov5x', 50.7, ''),
    ('yolov5_n', 'cspdarknet-n', 'v6.1', 'yolov5n', 28.0, ''),
    ('yolov5_s', 'cspdarknet-s', 'v6.1', 'yolov5s', 37.4, ''),
    ('yolov5_m', 'cspdarknet-m', 'v6.1', 'yolov5m', 45.4, ''),
    ('yolov5_l', 'cspdarknet-l', 'v6.1', 'yolov5l', 49.0, ''),
    ('yolov5_x', 'cspdarknet-x', 'v6.1', 'yolov5x', 50.7, ''),
    ('yolov5_s_focus', 'cspdarknet-focus-s', 'v5.0', 'yolov5s', 36.7, ''),
    # No config has these trunks; they are listed for direct use.
    ('cspdarknet-focus-m', '', 'v5.0', 'yolov5m', 44.5, ''),
    ('cspdarknet-focus-l', '', 'v5.0', 'yolov5l', 48.2, ''),
    ('cspdarknet-focus-x', '', 'v5.0', 'yolov5x', 50.4, ''),
]  # fmt: skip

ENTRIES = [
    Published(
        name=f'{model}/ultralytics-{release}',
        model=model,
        backbone=backbone,
        library='ultralytics',
        urls=(f'{RELEASES}download/{release}/{file}.pt',),
        sha256=sha256,
        top=True,
        licence='AGPL-3.0',
        image=replace(UNIT, size=640),
        activation='SiLU',
        norm_eps=1e-3,
        metric=f'AP {ap} val2017 at 640 px',
        source=f'{RELEASES}tag/{release}',
        trained_on='COCO train2017',
    )
    for model, backbone, release, file, ap, sha256 in FILES
]
