"""Weights of Joseph Redmon's and Alexey Bochkovskiy's Darknet: the order in its files, and its published files.

A file is one stream of floats without names: each convolution's bias (BatchNorm's beta), gamma, mean, variance, kernel.
The order is that of the layers of the public yolov3.cfg and yolov4.cfg, of darknet53.cfg and csdarknet53-omega.cfg.

Darknet's repositories state no licence of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.errors import CheckpointError
from mmcnn.image_format import UNIT, UNIT_256
from mmcnn.weights.formats.darknet_file import count_floats, read_floats, read_header, write_file
from mmcnn.weights.report import listed
from mmcnn.weights.sources.published import Published
from mmcnn.weights.sources.translate import Translation

UNBUILT = 'stages that are not built'
TOP = 'the top of the classifier'
IMAGENET_CLASSES = 1000  # number of classes in the classifier's file that a bare backbone loads
MOST_CLASSES = 10_000  # upper limit when deriving the number of classes from a file's size
BOX = 5  # x, y, w, h and objectness: what an anchor predicts besides the classes

#: Number of floats -> the public file of that size.
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
#: The classifier's parts in the order of the cfg.
CLASSIFIER = ('backbone', 'top.classes')
#: Class of a module -> its parts in the order of the cfg. An nn.Sequential has its own order.
PARTS = {
    'DarknetBottleneck': ('conv1', 'conv2'),
    'CSPStage': ('down', 'short', 'main', 'blocks', 'post', 'final'),
    'DetectionBlock': ('conv1', 'conv2', 'conv3', 'conv4', 'conv5'),  # MMDetection's, in YOLOv3's neck
}


@dataclass(frozen=True)
class Graph:
    """A detector in Darknet's layout."""

    name: str
    neck: str  # class of our neck or of MMDetection's
    head: str
    parts: tuple[str, ...]  # of the model, in the order of the cfg
    cuts: dict[str, int]  # part -> N of the public truncated file X.conv.N that ends with it
    anchors: tuple[tuple[int, int], ...]  # (width, height) in pixels, the finest level's first
    scale_xy: tuple[float, ...]  # for each level's cells, the finest first; the size is anchor * exp(t)


#: Backbone -> Darknet's detector with it. Numbers are layers of the cfg.
GRAPHS = {
    'darknet53': Graph(
        'YOLOv3',
        neck='YOLOV3Neck',
        head='YOLOV3Head',
        parts=(
            *('backbone', 'neck.detect1', 'bbox_head.convs_bridge.0', 'bbox_head.convs_pred.0'),  # 0, 75, 80, 81
            *('neck.conv1', 'neck.detect2', 'bbox_head.convs_bridge.1', 'bbox_head.convs_pred.1'),  # 84, 87, 92, 93
            *('neck.conv2', 'neck.detect3', 'bbox_head.convs_bridge.2', 'bbox_head.convs_pred.2'),  # 96, 99, 104, 105
        ),
        cuts={'backbone': 74, 'bbox_head.convs_bridge.0': 81},  # 74 is a shortcut, so .conv.75 has the same floats
        anchors=((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)),
        scale_xy=(1.0, 1.0, 1.0),
    ),
    'cspdarknet53': Graph(
        'YOLOv4',
        neck='YOLOv4PAN',
        head='YOLOHead',
        parts=(
            *('backbone', 'neck.spp'),  # 0, 105
            *('neck.reduce5', 'neck.lateral4', 'neck.top_down4'),  # 117, 119, 122
            *('neck.reduce4', 'neck.lateral3', 'neck.top_down3'),  # 127, 129, 132
            *('bbox_head.bridges.0', 'bbox_head.predictions.0'),  # 137, 138
            *('neck.down3', 'neck.bottom_up4', 'bbox_head.bridges.1', 'bbox_head.predictions.1'),  # 141, 143, 148, 149
            *('neck.down4', 'neck.bottom_up5', 'bbox_head.bridges.2', 'bbox_head.predictions.2'),  # 152, 154, 159, 160
        ),
        cuts={'backbone': 105, 'neck.top_down3': 137},
        anchors=((12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401)),
        scale_xy=(1.2, 1.1, 1.05),
    ),
}


class Entry(NamedTuple):
    """A tensor of the stream."""

    key: str  # in the model's state dict
    shape: tuple[int, ...]
    unbuilt: str = ''  # why the model does not have it
    by_classes: bool = False  # whether its layer's outputs depend on the number of classes

    @property
    def floats(self) -> int:
        """Number of floats."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Order:
    """The order of a model's tensors in the stream."""

    model: str  # its name, for messages
    entries: tuple[Entry, ...]
    cuts: dict[int, int]  # number of floats in a public truncated file X.conv.N -> N
    classes: int
    outputs: int  # outputs per anchor, or of the classifier
    other_boxes: str = ''  # how the model makes boxes differently from Darknet, from the same predictions

    @property
    def floats(self) -> int:
        """Number of floats in the whole stream."""
        return sum(entry.floats for entry in self.entries)

    def classes_of(self, floats: int) -> int | None:
        """Return the number of classes for which the whole stream has this many floats; None if there is none."""
        by_classes = sum(entry.floats for entry in self.entries if entry.by_classes)
        classes, rest = divmod(floats - self.floats, by_classes // self.outputs)
        return self.classes + classes if rest == 0 and 0 < self.classes + classes <= MOST_CLASSES else None

    def with_classes(self, classes: int) -> Order:
        """Return the stream of the same network with another head."""
        outputs = self.outputs - self.classes + classes
        entries = tuple(
            entry._replace(shape=(entry.shape[0] // self.outputs * outputs, *entry.shape[1:]))
            if entry.by_classes
            else entry
            for entry in self.entries
        )
        return replace(self, entries=entries, classes=classes, outputs=outputs)


def order_of(model: nn.Module) -> Order:
    """Return the stream of one of our backbones, a classifier or a detector on one.

    For a bare backbone it is that of the ImageNet classifier, with what the backbone lacks marked.

    Raises:
        CheckpointError: Darknet has no such network, or a convolution lacks its BatchNorm.
    """
    backbone = getattr(model, 'backbone', model)
    variant = getattr(backbone, 'variant', None)
    if variant not in GRAPHS:
        raise _no_order(variant or type(backbone).__name__)
    graph = GRAPHS[variant]
    if backbone is model:
        name, parts, classes = variant, ('backbone',), IMAGENET_CLASSES
        outputs = classes
    elif hasattr(model, 'top'):
        name, parts, classes = f'{variant} with {model.num_classes} classes', CLASSIFIER, model.num_classes
        outputs = classes
    elif _is_detector(model, graph):
        classes, parts = model.bbox_head.num_classes, graph.parts
        name, outputs = f'{graph.name} on {variant} with {classes} classes', BOX + classes
    else:
        raise _no_order(f'this {type(model).__name__} on {variant}')
    entries, cuts = [], {}
    for part in parts:
        if part == 'backbone':
            entries += _trunk(backbone, '' if backbone is model else 'backbone.')
        else:
            found = list(_entries(part, model.get_submodule(part)))
            if not found:
                raise CheckpointError(f'{name} differs from the network in Darknet: {part} is not a convolution')
            entries += found
        if part in graph.cuts:
            cuts[sum(entry.floats for entry in entries)] = graph.cuts[part]
    if backbone is model:
        entries += _unbuilt_top(classes, list(backbone.stages())[-1].channels)
    other_boxes = _other_boxes(model.bbox_head, graph) if parts is graph.parts else ''
    order = Order(name, tuple(entries), cuts, classes, outputs, other_boxes)
    _refuse_more(model, order)
    return order


def _is_detector(model: nn.Module, graph: Graph) -> bool:
    neck, head = getattr(model, 'neck', None), getattr(model, 'bbox_head', None)
    kinds = [{cls.__name__ for cls in type(part).__mro__} for part in (neck, head)]
    return graph.neck in kinds[0] and graph.head in kinds[1] and model.backbone.out_indices == (3, 4, 5)


def _other_boxes(head: nn.Module, graph: Graph) -> str:
    """Return how the head differs from Darknet's, so that the same predictions give other boxes."""
    if graph.head == 'YOLOHead':
        levels, coder = head.anchors, head.bbox_coder
        if (coder.size, coder.scale_xy) != ('exp', graph.scale_xy):
            return f'decoding (scale_xy {coder.scale_xy}, size {coder.size!r}; Darknet: {graph.scale_xy}, exp)'
    else:
        levels = head.prior_generator.base_sizes[::-1]  # MMDetection begins with the coarsest
    anchors = tuple((int(w), int(h)) for level in levels for w, h in level)
    return '' if anchors == graph.anchors else f'anchors ({anchors}; Darknet: {graph.anchors})'


def _unbuilt_top(classes: int, features: int) -> list[Entry]:
    shapes = dict(bias=(classes,), weight=(classes, features))
    return [Entry(f'top.classes.{kind}', shape, TOP, by_classes=True) for kind, shape in shapes.items()]


def _trunk(backbone: nn.Module, prefix: str) -> Iterator[Entry]:
    for stage in backbone.stages():
        if hasattr(backbone, stage.name):
            yield from _entries(prefix + stage.name, getattr(backbone, stage.name))
        else:
            with torch.device('meta'):
                module = stage.build()
            yield from _entries(prefix + stage.name, module, UNBUILT)


def _entries(name: str, module: nn.Module, unbuilt: str = '') -> Iterator[Entry]:
    """Yield the tensors of a module in the order of the stream."""
    if isinstance(module, nn.Conv2d | nn.Linear):  # predictions; Darknet's classifier has a 1x1 convolution
        yield Entry(f'{name}.bias', tuple(module.bias.shape), unbuilt, by_classes=True)
        yield Entry(f'{name}.weight', tuple(module.weight.shape), unbuilt, by_classes=True)
    elif hasattr(module, 'conv'):  # our ConvNormAct, MMCV's ConvModule
        norm = getattr(module, 'bn', None)
        plain = module.conv.bias is None and isinstance(norm, BatchNorm) and norm.affine and norm.track_running_stats
        if not plain:
            raise CheckpointError(
                f'{name} is not a convolution followed by BatchNorm, as in Darknet (mmcnn.fuse removes it)'
            )
        for kind in ('bias', 'weight', 'running_mean', 'running_var'):
            yield Entry(f'{name}.bn.{kind}', tuple(norm.running_mean.shape), unbuilt)
        yield Entry(f'{name}.conv.weight', tuple(module.conv.weight.shape), unbuilt)
    else:
        own = tuple(name for name, _ in module.named_children()) if isinstance(module, nn.Sequential) else ()
        for part in PARTS.get(type(module).__name__, own):
            yield from _entries(f'{name}.{part}', getattr(module, part), unbuilt)


def _refuse_more(model: nn.Module, order: Order) -> None:
    """Raise CheckpointError for tensors of the model that are not in the stream."""
    known = {entry.key for entry in order.entries}
    more = [key for key in model.state_dict() if key not in known and not key.endswith('num_batches_tracked')]
    if more:
        raise CheckpointError(
            f'{order.model} has {len(more)} entries that Darknet does not: {listed(more, count=False)}'
        )


def _no_order(name: str) -> CheckpointError:
    detectors = ' and '.join(f'{graph.name} on {variant}' for variant, graph in GRAPHS.items())
    return CheckpointError(
        f'Darknet has no weight files for {name}; there are files for {" and ".join(GRAPHS)}, as backbones and as '
        f'classifiers, and for {detectors}'
    )


def read_darknet(path: str | Path, model: nn.Module, predictions: bool = True) -> Translation:
    """Return a Darknet file under the names of a model.

    The file holds the whole network, or is one of the public truncated files: up to the trunk (``.conv.74`` or
    ``.conv.75`` of YOLOv3, ``.conv.105`` of YOLOv4), ``.conv.81`` of YOLOv3, ``.conv.137`` of YOLOv4. Its size is
    compared with the model's before it is read, and only the model's tensors are held in memory.

    A head for another number of classes keeps its own shapes in the result. Predictions for other anchors or another
    decoding than the model's are rejected: YOLOv4's fit ``configs/yolov4_cspdarknet53_darknet.py``, not
    ``configs/yolov4_cspdarknet53.py``.

    Args:
        path: the file.
        model: a ``darknet53`` or ``cspdarknet53`` as a backbone, in a :class:`~mmcnn.models.classifiers.Classifier`, in
            YOLOv3 or YOLOv4; it may be on the meta device. A bare backbone leaves out the top of an ImageNet classifier
            and its own stages that are not built.
        predictions: False: the file's predictions will not be used, so their anchors and decoding do not matter.

    Returns:
        The tensors; ``left_out`` of the file and ``absent`` of the model, each with its reason.

    Raises:
        CheckpointError: the file is missing, of another format or size, or holds NaN, infinity or a negative
            variance; or Darknet has no such network.
    """
    path = Path(path).expanduser()
    order, header = order_of(model), read_header(path)
    floats = count_floats(path, header)
    if floats != order.floats and floats not in order.cuts:
        classes = order.classes_of(floats)
        if classes is None or order.entries[-1].unbuilt:
            raise CheckpointError(f'{path} {_other_size(floats, order)}')
        order = order.with_classes(classes)
    if predictions and floats == order.floats and order.other_boxes:
        raise CheckpointError(
            f'{path} holds predictions for other {order.other_boxes} than this model and would give wrong boxes; use a '
            'config that has them (yolov4_cspdarknet53_darknet), or a truncated file without predictions'
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
                values = read_floats(file, header, position, entry.floats)
                state[entry.key] = torch.from_numpy(_checked(path, entry, values))
            position += entry.floats
    behind = {f'after the end of .conv.{order.cuts[floats]}': absent} if absent else {}
    return Translation(state, left_out, absent=behind)


def write_darknet(model: nn.Module, path: str | Path, seen: int = 0) -> None:
    """Write a model as Darknet's file of version 0.2.5, completely or not at all; a backbone as the file of its trunk.

    :func:`read_darknet` reads the same float32 values, and a file of that version that is read and written with its
    ``seen`` is unchanged.

    Args:
        model: see :func:`read_darknet`.
        path: the output file, by convention ``NAME.weights``; an existing one is replaced.
        seen: images that the training has seen.

    Raises:
        CheckpointError: Darknet has no such network, or would make other boxes from its predictions; stages are not
            built; there are invalid values; the file cannot be written.
    """
    path, order = Path(path).expanduser(), order_of(model)
    if unbuilt := [entry.key for entry in order.entries if entry.unbuilt == UNBUILT]:
        raise CheckpointError(f'{order.model} is not built as far as {unbuilt[-1]}: build it with its last level')
    if order.other_boxes:
        raise CheckpointError(
            f'{order.model} has other {order.other_boxes}, so Darknet would make wrong boxes from its predictions'
        )
    state = model.state_dict()
    arrays = [
        _checked(path, entry, state[entry.key].detach().cpu().float().contiguous().numpy().reshape(-1))
        for entry in order.entries
        if not entry.unbuilt
    ]
    write_file(path, arrays, seen)


def _other_size(floats: int, order: Order) -> str:
    """Return why a number of floats does not fit, and what would."""
    takes = [f'{order.floats:,}', *(f'{cut:,} (.conv.{n})' for cut, n in order.cuts.items())]
    sentence = f'has {floats:,} floats'
    if floats in PUBLIC:
        sentence += f', like {PUBLIC[floats]}'
    sentence += f'; {order.model} needs {" or ".join(takes)}'
    return sentence


def _checked(path: Path, entry: Entry, values: np.ndarray) -> np.ndarray:
    """Return the values in the entry's shape."""
    if values.size != entry.floats:
        raise CheckpointError(f'{path} became shorter while it was read')
    if not np.isfinite(values).all():
        raise CheckpointError(f'{path}: {entry.key} has NaN or infinite values')
    if entry.key.endswith('running_var') and (values < 0).any():
        raise CheckpointError(f'{path}: {entry.key} has negative variances')
    return values.astype(np.float32, copy=False).reshape(entry.shape)


# The published files. ``X.conv.N`` is the first N layers of a network.

REDMON = ('https://pjreddie.com/media/files/', 'https://data.pjreddie.com/files/')
ALEXEY = 'https://github.com/AlexeyAB/darknet/releases/download/'
CLASSIFIERS = 'https://pjreddie.com/darknet/imagenet/'
YOLO_V4_PAPER = 'arXiv 2004.10934'

SPLIT = 'COCO 2014, trainvalno5k'
LEAKAGE = (
    'trained on images of val2017 (the 2014 split overlaps it): its AP there is too high, and so is that of any model '
    'initialized from it'
)


def _redmon(file: str) -> tuple[str, ...]:
    return tuple(folder + file for folder in REDMON)


DARKNET53 = dict(model='darknet53', library='darknet', activation='LeakyReLU(0.1)', norm_eps=1e-5)
YOLO_V4 = dict(
    model='yolov4_cspdarknet53_darknet',
    backbone='cspdarknet53',
    library='darknet',
    image=replace(UNIT, size=608),
    activation='Mish',
    norm_eps=1e-5,
    trained_on=SPLIT,
    warning=LEAKAGE,
)

ENTRIES = [
    # Published as initial weights for YOLOv3; darknet/build/darknet/x64/partial.cmd makes it of the 448 px classifier.
    Published(
        **DARKNET53,
        name='darknet53/darknet-conv74',
        urls=_redmon('darknet53.conv.74'),
        top=False,
        image=replace(UNIT, size=448),
    ),
    Published(
        **DARKNET53,
        name='darknet53/darknet',
        urls=_redmon('darknet53.weights'),
        top=True,
        image=UNIT_256,
        metric='top-1 77.2',
        source=CLASSIFIERS,
    ),
    Published(
        **DARKNET53,
        name='darknet53/darknet-448',
        urls=_redmon('darknet53_448.weights'),
        top=True,
        image=replace(UNIT, size=448),
        metric='top-1 78.5',
        source=CLASSIFIERS,
    ),
    Published(
        name='cspdarknet53/darknet-conv105',  # csdarknet53-omega, the start of YOLOv4
        model='cspdarknet53',
        library='darknet',
        urls=(f'{ALEXEY}darknet_yolo_v4_pre/csdarknet53-omega.conv.105',),
        top=False,
        image=UNIT_256,
        activation='Mish',
        norm_eps=1e-5,
        metric='top-1 78.7',
        source=f'{YOLO_V4_PAPER}, Table 3',
    ),
    Published(
        name='yolov3_darknet53/darknet',
        model='yolov3_darknet53',
        backbone='darknet53',
        library='darknet',
        urls=_redmon('yolov3.weights'),
        sha256='523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297',
        top=True,
        image=replace(UNIT, size=608),
        activation='LeakyReLU(0.1)',
        norm_eps=1e-5,
        metric='AP 33.0 test-dev at 608 px',
        source=f'{YOLO_V4_PAPER}, Table 8',
        trained_on=SPLIT,
        warning=LEAKAGE,
    ),
    Published(
        **YOLO_V4,
        name='yolov4_cspdarknet53_darknet/darknet',
        urls=(f'{ALEXEY}darknet_yolo_v3_optimal/yolov4.weights',),
        sha256='e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562',
        top=True,
        metric='AP 43.5 test-dev at 608 px',
        source=f'{YOLO_V4_PAPER}, Table 8',
    ),
    # Trunk, SPP and the way down of the neck.
    Published(
        **YOLO_V4,
        name='yolov4_cspdarknet53_darknet/darknet-conv137',
        urls=(f'{ALEXEY}darknet_yolo_v3_optimal/yolov4.conv.137',),
        top=False,
    ),
]
