"""Which tensors of a network lie where in Darknet's weight files: the convolutions of its cfg files, in their order.

A file is one stream of floats without names: each convolution's bias (BatchNorm's beta), gamma, mean, variance, kernel.
The order is that of the layers of the public yolov3.cfg and yolov4.cfg, of darknet53.cfg and csdarknet53-omega.cfg.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn

from mmcnn.compat.private_names import BatchNorm
from mmcnn.errors import CheckpointError
from mmcnn.weights.report import listed

UNBUILT = 'stages that are not built'
TOP = 'the top of the classifier'
IMAGENET_CLASSES = 1000  # of the classifier's file that a bare backbone takes
MOST_CLASSES = 10_000  # that a file's size is explained by
BOX = 5  # x, y, w, h and objectness: what an anchor predicts besides the classes

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
    """A detector of Darknet's."""

    name: str
    neck: str  # class of our neck or of MMDetection's
    head: str
    parts: tuple[str, ...]  # of the model, in the order of the cfg
    cuts: dict[str, int]  # part -> N of the public cut-off X.conv.N that ends with it
    anchors: tuple[tuple[int, int], ...]  # (width, height) in pixels, the finest level's first
    scale_xy: tuple[float, ...]  # of each level's cells, the finest first; the size is anchor * exp(t)


#: Backbone -> the detector that Darknet has on it. Numbers are layers of the cfg.
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
    by_classes: bool = False  # of a layer whose outputs follow the number of classes

    @property
    def floats(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Order:
    """The stream of a model."""

    model: str  # its name, for messages
    entries: tuple[Entry, ...]
    cuts: dict[int, int]  # floats of a public cut-off X.conv.N -> N
    classes: int
    outputs: int  # of an anchor, or of the classifier
    other_boxes: str = ''  # what the model makes other boxes of than Darknet, from the same predictions

    @property
    def floats(self) -> int:
        """Of the whole stream."""
        return sum(entry.floats for entry in self.entries)

    def classes_of(self, floats: int) -> int | None:
        """The number of classes with which the whole stream has so many floats; None: no number explains them."""
        by_classes = sum(entry.floats for entry in self.entries if entry.by_classes)
        classes, rest = divmod(floats - self.floats, by_classes // self.outputs)
        return self.classes + classes if rest == 0 and 0 < self.classes + classes <= MOST_CLASSES else None

    def with_classes(self, classes: int) -> Order:
        """The stream of the same network with another head."""
        outputs = self.outputs - self.classes + classes
        entries = tuple(
            entry._replace(shape=(entry.shape[0] // self.outputs * outputs, *entry.shape[1:]))
            if entry.by_classes
            else entry
            for entry in self.entries
        )
        return replace(self, entries=entries, classes=classes, outputs=outputs)


def order_of(model: nn.Module) -> Order:
    """The stream of one of our backbones, a classifier or a detector on one.

    A bare backbone's is that of the ImageNet classifier: what the backbone does not have is marked.

    Raises:
        CheckpointError: Darknet has no such network, or a convolution is without its BatchNorm.
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
                raise CheckpointError(f'{name} is not as Darknet has it: {part} is no convolution')
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
    kinds = type(neck).__name__, type(head).__name__
    return kinds == (graph.neck, graph.head) and model.backbone.out_indices == (3, 4, 5)


def _other_boxes(head: nn.Module, graph: Graph) -> str:
    """What the head does not have as Darknet has it; the same predictions are other boxes then."""
    if graph.head == 'YOLOHead':
        levels, coder = head.anchors, head.bbox_coder
        if (coder.size, coder.scale_xy) != ('exp', graph.scale_xy):
            return f'decoding (scale_xy {coder.scale_xy}, size {coder.size!r}; Darknet: {graph.scale_xy}, exp)'
    else:
        levels = head.prior_generator.base_sizes[::-1]  # MMDetection's begin with the coarsest
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
    """Tensors of a module in the order of the stream."""
    if isinstance(module, nn.Conv2d | nn.Linear):  # predictions; Darknet's classifier has a 1x1 convolution
        yield Entry(f'{name}.bias', tuple(module.bias.shape), unbuilt, by_classes=True)
        yield Entry(f'{name}.weight', tuple(module.weight.shape), unbuilt, by_classes=True)
    elif hasattr(module, 'conv'):  # our ConvNormAct, MMCV's ConvModule
        norm = getattr(module, 'bn', None)
        plain = module.conv.bias is None and isinstance(norm, BatchNorm) and norm.affine and norm.track_running_stats
        if not plain:
            raise CheckpointError(
                f'{name} is not a convolution with BatchNorm behind it, as Darknet has it (mmcnn.fuse folds it away)'
            )
        for kind in ('bias', 'weight', 'running_mean', 'running_var'):
            yield Entry(f'{name}.bn.{kind}', tuple(norm.running_mean.shape), unbuilt)
        yield Entry(f'{name}.conv.weight', tuple(module.conv.weight.shape), unbuilt)
    else:
        own = tuple(name for name, _ in module.named_children()) if isinstance(module, nn.Sequential) else ()
        for part in PARTS.get(type(module).__name__, own):
            yield from _entries(f'{name}.{part}', getattr(module, part), unbuilt)


def _refuse_more(model: nn.Module, order: Order) -> None:
    """Raises CheckpointError for tensors of the model that the stream has no place for."""
    known = {entry.key for entry in order.entries}
    more = [key for key in model.state_dict() if key not in known and not key.endswith('num_batches_tracked')]
    if more:
        raise CheckpointError(
            f'{order.model} has {len(more)} entries that Darknet does not: {listed(more, count=False)}'
        )


def _no_order(name: str) -> CheckpointError:
    detectors = ' and '.join(f'{graph.name} on {variant}' for variant, graph in GRAPHS.items())
    return CheckpointError(
        f'Darknet has no weight files for {name}; it has some for {" and ".join(GRAPHS)}, as backbones and as '
        f'classifiers, and for {detectors}'
    )
