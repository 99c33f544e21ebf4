"""Detection of the library whose layer names a file of weights has, and their translation to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from mmcnn.errors import CheckpointError
from mmcnn.models.backbones import Backbone
from mmcnn.models.families import backbone_families
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.sources import keras, mmdet, timm, torchvision
from mmcnn.weights.sources.darknet import read_darknet
from mmcnn.weights.sources.torchvision_detectors import from_torchvision_detector
from mmcnn.weights.sources.translate import Source, Translation, without_own_classifier
from mmcnn.weights.sources.ultralytics import from_ultralytics

#: File format -> libraries whose layer names its tensors may have, in the order in which they are tried.
SOURCES = {
    'darknet': ('darknet',),
    'keras': ('keras',),
    'ultralytics': ('ultralytics',),
    'safetensors': ('mmcnn', 'torchvision', 'timm', 'mmdet', 'ultralytics'),
    'pytorch': ('mmcnn', 'torchvision', 'timm', 'mmdet', 'ultralytics'),
}
#: Layers whose shape depends on the number of classes: of our heads, MMDetection's YOLOv3 and Faster R-CNN.
CLASS_LAYERS = (
    'top.classes.',
    'bbox_head.predictions.',
    'bbox_head.convs_pred.',
    'roi_head.bbox_head.fc_cls.',
    'roi_head.bbox_head.fc_reg.',
)
#: What may differ if another head is allowed: for a classifier, everything behind the backbone.
HEADS = (*CLASS_LAYERS, 'top.')


@dataclass(frozen=True)
class Request:
    """What is loaded into which model; the fields are the arguments of :func:`mmcnn.weights.loading.load_weights`."""

    model: nn.Module
    source: str | None = None
    prefix: str = ''
    allow_head_mismatch: bool = False
    adapt_input: bool = False
    drop_head: bool = False
    class_layers: tuple[str, ...] = CLASS_LAYERS

    @property
    def allowed(self) -> tuple[str, ...]:
        """Prefixes of the model's entries that may differ in the file."""
        return (*HEADS, *self.class_layers) if self.allow_head_mismatch or self.drop_head else ()


@dataclass(frozen=True)
class Names:
    """Tensors of a file: all of them under their own names, or those with a prefix, which is removed."""

    file: Checkpoint
    state: Mapping[str, Tensor]
    prefix: str = ''
    outside: tuple[str, ...] = ()  # names in the file without the prefix


def backbone_of(model: nn.Module) -> Backbone | None:
    """Return the backbone of a classifier or a detector, or a backbone itself; None if it is not one of ours."""
    backbone = getattr(model, 'backbone', model)
    return backbone if is_backbone(backbone) else None


def is_backbone(model: nn.Module) -> bool:
    """Return whether a model is one of our backbones and nothing else."""
    return isinstance(model, tuple(set(backbone_families().values())))


def is_detector(model: nn.Module) -> bool:
    """Return whether a model is neither a backbone nor one of our classifiers."""
    return not is_backbone(model) and not hasattr(model, 'top')


def name_of(model: nn.Module) -> str:
    """Return the name of a model for messages: its row, or a detector's class."""
    return type(model).__name__ if is_detector(model) else backbone_of(model).variant


def _own(names: Names, request: Request) -> Translation:
    """Translate mmcnn's names: those of the model itself, or of a classifier or detector around it."""
    if is_detector(request.model):
        return Translation(dict(names.state))
    state, own = names.state, request.model.state_dict().keys()
    if hasattr(request.model, 'top') and not any(key.startswith('backbone.') for key in state):
        state = {f'backbone.{key}' if f'backbone.{key}' in own else key: value for key, value in state.items()}
    return without_own_classifier(state, own)


def _of_library(library: Source) -> Callable[[Names, Request], Translation]:
    def translate(names: Names, request: Request) -> Translation:
        if is_detector(request.model):
            raise CheckpointError(
                f'{names.file.path}: {library.name} has classifiers but no detectors; load the file into the backbone'
            )
        return library.translate(names.state, backbone_of(request.model).variant)

    return translate


def _of_torchvision(names: Names, request: Request) -> Translation:
    if is_detector(request.model):
        return from_torchvision_detector(names.state, request.model)
    return torchvision.SOURCE.translate(names.state, backbone_of(request.model).variant)


def _of_mmdet(names: Names, request: Request) -> Translation:
    if is_detector(request.model):
        return mmdet.from_mmdet_detector(names.state, request.model)
    return mmdet.SOURCE.translate(names.state, backbone_of(request.model).variant)


def _of_darknet(names: Names, request: Request) -> Translation:
    with names.file.unchanged() as path:
        return read_darknet(path, request.model, predictions=not request.drop_head)


def _of_ultralytics(names: Names, request: Request) -> Translation:
    given = names.state if names.prefix else names.file.tree or names.state
    return from_ultralytics(given, request.model, predictions=not request.drop_head)


#: Source -> function that renames the tensors of a file for a model.
TRANSLATE: dict[str, Callable[[Names, Request], Translation]] = {
    'mmcnn': _own,
    'mmdet': _of_mmdet,
    'torchvision': _of_torchvision,
    'timm': _of_library(timm.SOURCE),
    'keras': _of_library(keras.SOURCE),
    'darknet': _of_darknet,
    'ultralytics': _of_ultralytics,
}
